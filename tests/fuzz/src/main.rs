//! One target of [`lb_userspace::fuzz`], the one that `LB_FUZZ_TARGET` names, under libFuzzer.
#![no_main]

use std::sync::LazyLock;

use lb_userspace::fuzz::Target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("LB_FUZZ_TARGET").expect("LB_FUZZ_TARGET names a target");
    Target::find(&name).expect("there is such a target")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
