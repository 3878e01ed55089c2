//! Handing a packet on to the next stage.

use aya_ebpf::EbpfContext;
use aya_ebpf::btf_maps::{PerCpuArray, ProgramArray};
use aya_ebpf::macros::btf_map;
use lb_common::observe::Code;
use lb_common::stage::{STAGES, Stage};

use crate::observe::trace;

/// The stages of `lb_xdp`, by [`Stage`]. Written by the agent before anything is attached.
#[btf_map]
static XDP_STAGES: ProgramArray<{ STAGES as usize }> = ProgramArray::new();

/// The stages of `lb_tc_ingress`.
#[btf_map]
static TC_INGRESS_STAGES: ProgramArray<{ STAGES as usize }> = ProgramArray::new();

/// The stages of `lb_tc_egress`.
#[btf_map]
static TC_EGRESS_STAGES: ProgramArray<{ STAGES as usize }> = ProgramArray::new();

/// Each CPU's own: what a stage tells the next one.
#[btf_map]
static WORD: PerCpuArray<u32, 1> = PerCpuArray::new();

/// A hook's stages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stages {
    /// Of `lb_xdp`.
    Xdp,
    /// Of `lb_tc_ingress`.
    TcIngress,
    /// Of `lb_tc_egress`.
    TcEgress,
}

impl Stages {
    /// Goes on with a stage; returns only if it is missing.
    #[inline(always)]
    pub fn enter<C: EbpfContext>(self, context: &C, stage: u32) {
        trace::note(Code::Stage, stage, 0);
        let stages = match self {
            Self::Xdp => &XDP_STAGES,
            Self::TcIngress => &TC_INGRESS_STAGES,
            Self::TcEgress => &TC_EGRESS_STAGES,
        };
        // SAFETY: nothing here has a destructor.
        unsafe { stages.tail_call(context, stage) };
    }
}

/// Tells the next stage a number.
#[inline(always)]
pub fn tell(word: u32) {
    if let Some(place) = WORD.get_ptr_mut(0) {
        // SAFETY: this CPU's own value, and programs on one CPU do not interrupt each other here.
        unsafe { place.write_volatile(word) };
    }
}

/// The number that the stage before this one told.
#[inline(always)]
pub fn told() -> u32 {
    // SAFETY: as in `tell`.
    WORD.get_ptr_mut(0).map_or(0, |place| unsafe { place.read_volatile() })
}

/// Is a packet whose next stage is missing somebody else's, as far as anybody knows?
pub const fn passes_without(stage: u32) -> bool {
    const OURS: [Stage; 7] = [
        Stage::Arrive,
        Stage::Tagged,
        Stage::StartV4,
        Stage::OpenV4,
        Stage::RefuseV4,
        Stage::OpenV6,
        Stage::RefuseV6,
    ];
    let mut index = 0;
    while index < OURS.len() {
        #[expect(clippy::indexing_slicing, reason = "the loop stays inside")]
        if OURS[index] as u32 == stage {
            return false;
        }
        index += 1;
    }
    true
}
