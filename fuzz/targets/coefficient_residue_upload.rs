#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = oblivia_he::coefficient::fuzz::residue_upload(bytes);
});
