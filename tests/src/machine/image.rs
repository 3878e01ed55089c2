//! What is inside a machine: programs of this one with the libraries that they need, and the kernel's modules.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::cpio::Archive;
use super::kernel::Kernel;
use crate::lab::namespace::output;

/// The program that runs first, and alone.
pub const STORY: &str = "/bin/guest";
/// Where the modules are.
pub const MODULES: &str = "/modules";
/// Where the packet programs are.
pub const PROGRAMS: &str = "/programs";

/// Programs that the lab runs.
const TOOLS: [&str; 3] = ["ip", "nsenter", "sh"];

/// Directories of every system.
const DIRECTORIES: [&str; 8] = ["bin", "dev", "lib64", "modules", "proc", "run", "sys", "tmp"];

/// An image that grows.
#[derive(Clone, Default, Debug)]
pub struct Image {
    archive: Archive,
    present: BTreeSet<PathBuf>,
}

impl Image {
    /// An image with these programs in `/bin` under their own names, without what debuggers want, and with what the lab
    /// runs.
    ///
    /// # Errors
    /// When a program or library can't be read.
    pub fn with_programs(programs: &[&Path], scratch: &Path) -> Result<Self> {
        let mut image = Self::default();
        for directory in DIRECTORIES {
            image.directory(Path::new("/").join(directory).as_path());
        }
        fs::create_dir_all(scratch).with_context(|| format!("create {}", scratch.display()))?;
        for program in programs {
            let name = program.file_name().with_context(|| format!("the name of {}", program.display()))?;
            let stripped = scratch.join(name);
            output(Command::new("strip").arg("--strip-debug").arg("-o").arg(&stripped).arg(program))?;
            image.program(&stripped)?;
            fs::remove_file(&stripped).with_context(|| format!("remove {}", stripped.display()))?;
        }
        for tool in TOOLS {
            image.program(&find(tool)?)?;
        }
        Ok(image)
    }

    /// Adds a kernel's modules.
    ///
    /// # Errors
    /// When one can't be read.
    pub fn with_modules(mut self, kernel: &Kernel) -> Result<Self> {
        for module in kernel.modules()? {
            let name = module.file_name().unwrap_or_default();
            self.copy(&module, &Path::new(MODULES).join(name))?;
        }
        Ok(self)
    }

    /// Adds the modules that other balancers take, to be loaded after the others.
    ///
    /// # Errors
    /// When one can't be read.
    pub fn with_peers(mut self, kernel: &Kernel) -> Result<Self> {
        for module in kernel.peers()? {
            let name = module.file_name().unwrap_or_default().to_string_lossy();
            self.copy(&module, &Path::new(MODULES).join(format!("peer-{name}")))?;
        }
        Ok(self)
    }

    /// Adds a program that is not part of this one.
    ///
    /// # Errors
    /// When there is none, or when it or a library can't be read.
    pub fn with_tool(mut self, name: &str) -> Result<Self> {
        self.program(&find(name)?)?;
        Ok(self)
    }

    /// Adds a file.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn with_file(mut self, from: &Path, to: &str) -> Result<Self> {
        self.copy(from, Path::new(to))?;
        Ok(self)
    }

    /// The archive that the kernel unpacks.
    pub(super) fn finish(self) -> Vec<u8> {
        self.archive.finish()
    }

    fn program(&mut self, program: &Path) -> Result<()> {
        let found = Command::new("ldd").arg(program).output().context("run ldd")?;
        let problem = String::from_utf8_lossy(&found.stderr);
        // What is linked statically needs none.
        ensure!(
            found.status.success() || problem.contains("not a dynamic executable"),
            "ldd {}: {problem}",
            program.display()
        );
        for library in libraries(&String::from_utf8_lossy(&found.stdout)) {
            self.copy(library, library)?;
        }
        self.copy(program, &Path::new("/bin").join(program.file_name().unwrap_or_default()))
    }

    fn copy(&mut self, from: &Path, to: &Path) -> Result<()> {
        if let Some(parent) = to.parent() {
            self.directory(parent);
        }
        if self.present.insert(to.to_owned()) {
            let content = fs::read(from).with_context(|| format!("read {}", from.display()))?;
            self.archive.file(&inside(to), &content);
        }
        Ok(())
    }

    fn directory(&mut self, path: &Path) {
        if path == Path::new("/") || !self.present.insert(path.to_owned()) {
            return;
        }
        if let Some(parent) = path.parent() {
            self.directory(parent);
        }
        self.archive.directory(&inside(path));
    }
}

/// A path as archives have it.
fn inside(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}

/// The paths in what `ldd` prints: `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` for the loader.
fn libraries(text: &str) -> impl Iterator<Item = &Path> {
    text.lines().filter_map(|line| {
        let line = line.split_once("=> ").map_or(line, |(_, path)| path).trim();
        line.starts_with('/').then(|| Path::new(line.split(' ').next().unwrap_or(line)))
    })
}

fn find(tool: &str) -> Result<PathBuf> {
    let found = ["/bin", "/usr/bin", "/sbin", "/usr/sbin"].map(|directory| Path::new(directory).join(tool));
    found.into_iter().find(|path| path.is_file()).with_context(|| format!("there is no {tool}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_in_what_ldd_prints() {
        let text = "\tlinux-vdso.so.1 (0x7f)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x7f)\n\tlibodd.so => not found\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(Path::new);
        assert_eq!(libraries(text).collect::<Vec<_>>(), expected);
        assert_eq!(libraries("\tstatically linked\n").count(), 0);
    }

    #[test]
    fn directories_come_before_what_is_in_them_and_once() {
        let mut image = Image::default();
        image.directory(Path::new("/usr/lib/deep"));
        image.directory(Path::new("/usr/lib"));
        let archive = String::from_utf8(image.finish()).unwrap();
        let at =
            |name: &str| archive.match_indices(&format!("{name}\0")).map(|(at, _)| at).collect::<Vec<_>>();
        assert_eq!((at("usr").len(), at("usr/lib").len(), at("usr/lib/deep").len()), (1, 1, 1));
        assert!(at("usr") < at("usr/lib") && at("usr/lib") < at("usr/lib/deep"));
    }
}
