//! Homomorphic encryption over ring learning with errors.
#![forbid(unsafe_code)]
