//! Programs that are ready to be measured.

use anyhow::{Context as _, Result};

use super::Clock;
use super::generator::Generator;
use super::path::Path;
use super::subject::{self, Role, Subject};

/// The subjects of a hook, the floor below them, and what sends packets to either.
pub struct Stand {
    generator: Generator,
    floor: Subject,
    subjects: Vec<Subject>,
}

/// What gets the packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// What sends every packet back.
    Floor,
    /// One of [`Stand::subjects`].
    Subject(usize),
}

/// Paths on which every packet begins a flow have millions, which are not begun before.
const MOST_BEGUN: u32 = 1 << 20;

impl Stand {
    /// Loads what packets meet on this path, and on others of its hook that take a table of this size.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn load(path: &Path) -> Result<Self> {
        let mut generator = Generator::load(path.hook, path.buckets)?;
        let subjects = subject::all(path, &mut generator)?;
        let floor = subject::floor(&mut generator, path.hook)?;
        Ok(Self { generator, floor, subjects })
    }

    /// The subjects that know what to do with a path's packets, and their names.
    pub fn subjects(&self, path: &Path) -> Vec<(Target, &'static str)> {
        let shot = path.measured();
        let able = self.subjects.iter().enumerate().filter(|(_, subject)| subject.knows(&shot));
        able.map(|(number, subject)| (Target::Subject(number), subject.name)).collect()
    }

    /// Begins the flows, and looks at what becomes of some packets.
    ///
    /// # Errors
    /// When a program does with a packet what it must not, or the kernel refuses.
    pub fn prepare(&mut self, path: &Path) -> Result<()> {
        for (target, name) in self.subjects(path) {
            self.prepare_one(target, path).with_context(|| format!("{}: {name}", path.name))?;
        }
        Ok(())
    }

    fn prepare_one(&mut self, target: Target, path: &Path) -> Result<()> {
        let (generator, subject) = self.aim(target)?;
        match subject.role {
            Role::TwoWay => {}
            Role::OneWay => subject::serve(generator, path)?,
            Role::Look => subject::extend(generator, path)?,
        }
        for shot in path.before().filter(|shot| subject.knows(shot)) {
            generator.begin(&shot, path.flows.min(MOST_BEGUN))?;
        }
        for number in [0, path.flows / 2, path.flows - 1] {
            generator.compare(&path.measured(), number, |shot| subject.expected(shot, number))?;
        }
        Ok(())
    }

    /// What a packet of the path costs on the average, generator included.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn batch(&mut self, target: Target, path: &Path, clock: Clock, packets: u32) -> Result<f64> {
        let (generator, _) = self.aim(target)?;
        generator.batch(&path.measured(), clock, packets)
    }

    /// What packets of the path cost one by one, generator and system call included.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn singles(&mut self, target: Target, path: &Path, clock: Clock, packets: u32) -> Result<Vec<u64>> {
        let (generator, _) = self.aim(target)?;
        generator.singles(&path.measured(), clock, packets)
    }

    fn aim(&mut self, target: Target) -> Result<(&mut Generator, &Subject)> {
        let subject = match target {
            Target::Floor => &self.floor,
            Target::Subject(number) => self.subjects.get(number).context("a subject of this stand")?,
        };
        self.generator.aim(&subject.program)?;
        Ok((&mut self.generator, subject))
    }
}
