#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oblivia_onnx::fuzz::calibration(bytes));
