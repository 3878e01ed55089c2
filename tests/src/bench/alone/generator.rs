//! The program that makes packets, and what it hands them to.

use anyhow::{Context as _, Result, anyhow, ensure};
use aya::maps::{Array, MapData, PerCpuArray, PerCpuValues, ProgramArray};
use aya::programs::{Program, ProgramFd, SchedClassifier, TestRun as _, TestRunOptions, TestRunResult, Xdp};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader};
use lb_common::bench::{self, HEADER, Turn};

use super::Clock;
use super::scene::Shot;
use crate::packet::{Frame as _, difference};
use crate::program::{Hook, bench_object};

/// From one flow to the next: far from those that were begun beside it.
const STEP: u32 = 2_654_435_761;

/// Times [`STEP`] it is 1, modulo 2^32: each step of Newton's doubles the bits that are right.
const INVERSE: u32 = {
    let mut inverse = STEP;
    while STEP.wrapping_mul(inverse) != 1 {
        inverse = inverse.wrapping_mul(2_u32.wrapping_sub(STEP.wrapping_mul(inverse)));
    }
    inverse
};

/// Programs of [`crate::bench`]'s own.
pub(super) struct Generator {
    pub(super) ebpf: Ebpf,
    hook: Hook,
}

impl Generator {
    /// Loads it, for programs of this hook beside which memory has so many places.
    pub(super) fn load(hook: Hook, places: u32) -> Result<Self> {
        let ebpf = EbpfLoader::new()
            .map_max_entries(bench::MEMORY, places)
            .load(&bench_object())
            .context("load the benchmarks' maps")?;
        let mut generator = Self { ebpf, hook };
        generator.load_program(generator.turn())?;
        Ok(generator)
    }

    fn turn(&self) -> &'static str {
        if self.hook == Hook::Xdp { "bench_turn" } else { "bench_turn_tc" }
    }

    /// Loads one of the benchmarks' programs.
    pub(super) fn load_program(&mut self, name: &str) -> Result<ProgramFd> {
        let program = self.ebpf.program_mut(name).with_context(|| format!("no program {name}"))?;
        match program {
            Program::Xdp(xdp) => xdp.load(),
            Program::SchedClassifier(tc) => tc.load(),
            _ => return Err(anyhow!("{name} is neither an XDP nor a tc program")),
        }
        .with_context(|| format!("load {name}"))?;
        program.fd()?.try_clone().with_context(|| format!("another descriptor of {name}"))
    }

    /// Packets go to this program from now on.
    pub(super) fn aim(&mut self, subject: &ProgramFd) -> Result<()> {
        let name = if self.hook == Hook::Xdp { bench::SUBJECT } else { bench::SUBJECT_TC };
        let map = self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))?;
        ProgramArray::try_from(map)?.set(0, subject, 0).with_context(|| format!("write {name}"))
    }

    /// Sends a packet of each flow, in another order than those that are measured: tables that keep flows in the order
    /// in which they began would have them in order.
    pub(super) fn begin(&mut self, shot: &Shot, flows: u32) -> Result<()> {
        let frame = self.ready(shot, 0, 1)?;
        self.run(&frame, flows)
    }

    /// Sends packets of all flows in turn, and gives what one of them costs: generator, subject and the kernel's loop.
    pub(super) fn batch(&mut self, shot: &Shot, clock: Clock, packets: u32) -> Result<f64> {
        let frame = self.ready(shot, 0, STEP)?;
        let before = clock.now()?;
        self.run(&frame, packets)?;
        let cost = clock.now()? - before;
        Ok(cost as f64 / f64::from(packets))
    }

    fn run(&mut self, frame: &[u8], repeat: u32) -> Result<()> {
        let ran = self.test_run(TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() })?;
        ensure!(ran.return_value != 0, "the generator could not make a packet");
        Ok(())
    }

    /// Sends packets of all flows in turn, each by a run of its own, and gives what each costs.
    pub(super) fn singles(&mut self, shot: &Shot, clock: Clock, packets: u32) -> Result<Vec<u64>> {
        let frame = self.ready(shot, 0, STEP)?;
        let mut costs = Vec::with_capacity(packets as usize);
        for _ in 0..packets {
            let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::new() };
            let before = clock.now()?;
            self.test_run(options)?;
            costs.push(clock.now()? - before);
        }
        Ok(costs)
    }

    /// Sends the packet of one flow, which has to become what is expected.
    pub(super) fn compare(
        &mut self,
        shot: &Shot,
        number: u32,
        expected: impl FnOnce(&Shot) -> (i32, Vec<u8>),
    ) -> Result<()> {
        let frame = self.ready(shot, number.wrapping_mul(INVERSE), STEP)?;
        let mut out = vec![0; frame.len() + 64];
        let options =
            TestRunOptions { data_in: Some(&frame), data_out: Some(&mut out), ..TestRunOptions::new() };
        let ran = self.test_run(options)?;
        out.truncate(ran.data_size_out as usize);
        let (code, frame) = expected(shot);
        if let Some(difference) = difference(&frame, &out) {
            return Err(anyhow!("flow {number}: {difference}"));
        }
        let found = ran.return_value.cast_signed();
        ensure!(found == code, "flow {number}: return value {found}, {code} expected");
        Ok(())
    }

    /// Writes what the packets are to be, the first of which is number `made`.
    fn ready(&mut self, shot: &Shot, made: u32, step: u32) -> Result<Vec<u8>> {
        let frame = shot.blank();
        let mut header = [0; HEADER];
        header.copy_from_slice(frame.get(..HEADER).context("a frame that is too short")?);
        let length = u32::try_from(frame.len())?;
        let turn = Turn { header, mask: shot.mask(), step, flags: shot.flags(), length };
        Array::<&mut MapData, Turn>::try_from(self.ebpf.map_mut(bench::TURN).context("no map TURN")?)?
            .set(0, turn, 0)
            .context("write TURN")?;
        let cpus = nr_cpus().map_err(|(path, error)| anyhow!("{path}: {error}"))?;
        let made =
            PerCpuValues::try_from(vec![u64::from(made); cpus]).context("a number for each processor")?;
        PerCpuArray::try_from(self.ebpf.map_mut(bench::MADE).context("no map MADE")?)?
            .set(0, made, 0)
            .context("write MADE")?;
        Ok(frame.bytes())
    }

    fn test_run(&mut self, options: TestRunOptions<'_>) -> Result<TestRunResult> {
        let program = self.ebpf.program_mut(self.turn()).context("no generator")?;
        let ran = match self.hook {
            Hook::Xdp => <&mut Xdp>::try_from(program)?.test_run(options),
            Hook::TcIngress | Hook::TcEgress => <&mut SchedClassifier>::try_from(program)?.test_run(options),
        };
        ran.context("a test run")
    }
}
