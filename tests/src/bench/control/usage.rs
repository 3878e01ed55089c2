//! What the agent takes of the machine.

use std::fs;

use anyhow::{Context as _, Result};

/// Processor time that a process has used, in seconds, of all its threads.
pub(super) fn processor_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let (_, fields) = text.rsplit_once(')').context("no name in stat")?;
    // utime and stime are fields 14 and 15, of which the first two are before the parenthesis.
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    let ticks: f64 = ticks.sum::<Result<f64, _>>().context("parse stat")?;
    // SAFETY: asks for a number.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(ticks / per_second as f64)
}

/// Memory of a process, in MiB.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Memory {
    /// What is resident, tables of the kernel left out.
    pub(super) own: f64,
    /// Tables of the kernel that it has mapped and looked at.
    pub(super) tables: f64,
}

pub(super) fn memory(pid: u32) -> Result<Memory> {
    let path = format!("/proc/{pid}/smaps");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    Ok(sum(&text))
}

fn sum(text: &str) -> Memory {
    let mut memory = Memory::default();
    let mut is_table = false;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Rss:") => {
                let kibibytes: f64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN);
                let part = if is_table { &mut memory.tables } else { &mut memory.own };
                *part += kibibytes / 1024.0;
            }
            Some(word) if !word.ends_with(':') => is_table = line.contains("bpf-map"),
            Some(_) | None => {}
        }
    }
    memory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_the_kernel_are_told_apart() {
        let text = "7f00-7f01 rw-s 00000000 00:0e 1049   anon_inode:bpf-map\nSize: 8192 kB\nRss: 4096 kB\n\
                    7f02-7f03 rw-p 00000000 00:00 0 [heap]\nRss: 2048 kB\nVmFlags: rd wr\n\
                    7f04-7f05 rw-p 00000000 00:00 0\nRss: 1024 kB\n";
        let memory = sum(text);
        assert_eq!((memory.own, memory.tables), (3.0, 4.0));
    }
}
