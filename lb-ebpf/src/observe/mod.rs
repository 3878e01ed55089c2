//! What a second instance of these programs tells about packets, for `lb trace` and `lb capture`.
//!
//! In the programs that are attached normally the constant is zero: the verifier then knows that none of this is
//! reached, and removes it.

pub mod capture;
pub mod trace;

use lb_common::observe::{CAPTURE, TRACE};
use lb_common::reason::Reason;

/// Set by who loads the programs.
#[unsafe(no_mangle)]
static OBSERVE: u32 = 0;

/// Is this the second instance, which looks at packets?
#[inline(always)]
pub fn is_any() -> bool {
    is_on(u32::MAX)
}

#[inline(always)]
fn is_on(bit: u32) -> bool {
    // SAFETY: a constant of this object; volatile, for its value is set when it is loaded.
    unsafe { (&raw const OBSERVE).read_volatile() & bit != 0 }
}

/// Are decisions noted?
#[inline(always)]
fn traces() -> bool {
    is_on(TRACE)
}

/// Are frames copied?
#[inline(always)]
fn captures() -> bool {
    is_on(CAPTURE)
}

/// A reason was counted, or decided.
#[inline(always)]
pub fn reason(reason: Reason) {
    trace::note(lb_common::observe::Code::Reason, reason as u32, 0);
    capture::reason(reason);
}
