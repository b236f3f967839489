#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = oblivia_systems::hybrid::aided::fuzz::inputs(bytes);
});
