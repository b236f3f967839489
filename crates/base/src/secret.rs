use std::fmt;
use zeroize::Zeroize;

/// A value that must not leak: zeroised on drop, neither `Clone` nor `PartialEq`, and `Debug` prints
/// `Secret(..)`.
///
/// The one door to the value is [`Secret::expose`] (and [`Secret::expose_mut`]), so a reviewer finds every
/// use by searching for that name.
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes ownership of `value`.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value, for reading.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// The value, for writing.
    pub fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    struct Recorder(Arc<Mutex<bool>>);
    impl Zeroize for Recorder {
        fn zeroize(&mut self) {
            *self.0.lock().unwrap() = true;
        }
    }

    #[test]
    fn a_dropped_secret_has_been_zeroised() {
        let wiped = Arc::new(Mutex::new(false));
        drop(Secret::new(Recorder(wiped.clone())));
        assert!(*wiped.lock().unwrap());
    }

    #[test]
    fn debug_prints_no_value() {
        assert_eq!(format!("{:?}", Secret::new([0x5au8; 4])), "Secret(..)");
    }
}
