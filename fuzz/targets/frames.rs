#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oblivia_net::fuzz::frames(bytes));
