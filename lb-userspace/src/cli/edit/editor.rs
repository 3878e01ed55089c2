//! The user's editor, on a file that outlives what goes wrong.

use std::env;
use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

/// The editor of a system that names none.
const DEFAULT: &str = "vi";

/// A text in a file of its own.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    /// As it was before anybody edited it.
    first: String,
}

impl Draft {
    /// Writes the text into a new file that nobody else may read.
    pub(super) fn create(name: &str, text: &str) -> anyhow::Result<Self> {
        let legal: String =
            name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')).collect();
        let (mut file, path) = new_file(&format!("lb-edit-{legal}"))?;
        let draft = Self { path, first: text.to_owned() };
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", draft.path.display()))?;
        Ok(draft)
    }

    /// Replaces the text.
    pub(super) fn write(&self, text: &str) -> anyhow::Result<()> {
        fs::write(&self.path, text).with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Has the user edit it, with this editor or the system's. Gives what it is then.
    pub(super) async fn edit(&self, editor: Option<&str>) -> anyhow::Result<String> {
        let named = |name| env::var(name).ok().filter(|editor| !editor.trim().is_empty());
        let editor = editor.map(ToOwned::to_owned).or_else(|| named("VISUAL"));
        let editor = editor.or_else(|| named("EDITOR")).unwrap_or_else(|| DEFAULT.to_owned());
        // It may be a program with arguments, as it is for everybody else who reads these variables.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("{editor} \"$1\""), "sh"]).arg(&self.path);
        let ended =
            tokio::task::spawn_blocking(move || command.status()).await.context("the editor is lost")?;
        let status = ended.with_context(|| format!("cannot start the editor {editor:?}"))?;
        ensure!(
            status.success(),
            "the editor {editor:?} ended with {status}: nothing is changed; set EDITOR to another"
        );
        fs::read_to_string(&self.path).with_context(|| format!("cannot read {}", self.path.display()))
    }

    /// Whether there is something in it that the user would miss.
    pub(super) fn is_touched(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|text| text != self.first)
    }

    /// Where it is, for people.
    pub(super) fn whereabouts(&self) -> String {
        format!("not changed; your text is kept in {}", self.path.display())
    }

    /// Removes the file.
    pub(super) fn discard(&self) {
        // One that is left behind harms nobody.
        drop(fs::remove_file(&self.path));
    }
}

/// A file for this user alone, whose name nobody has: earlier drafts may be there.
fn new_file(name: &str) -> anyhow::Result<(File, PathBuf)> {
    for number in 1_u32.. {
        let path = env::temp_dir().join(format!("{name}-{number}.yaml"));
        match File::options().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot create {}", path.display())),
        }
    }
    bail!("cannot create a file in {}: all names are taken", env::temp_dir().display())
}
