//! Archives that the kernel unpacks into its first file system: cpio, "newc" (Documentation/driver-api/early-userspace
//! of the kernel).

/// An archive that grows.
#[derive(Clone, Default, Debug)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const MAGIC: &str = "070701";
const LAST: &str = "TRAILER!!!";

impl Archive {
    /// Adds a directory, whose parent is there.
    pub(super) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY, &[]);
    }

    /// Adds a file that may be run.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, PROGRAM, content);
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(LAST, 0, &[]);
        self.bytes
    }

    /// # Panics
    /// When the file has 4 GiB or more.
    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("a file below 4 GiB");
        let name = u32::try_from(path.len() + 1).expect("a short name");
        // Number, mode, owner, group, links, time, size, four device numbers, length of the name, no checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name, 0];
        self.bytes.extend_from_slice(MAGIC.as_bytes());
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_follow_each_other_on_multiples_of_four() {
        let mut archive = Archive::default();
        archive.directory("bin");
        archive.file("bin/ab", b"12345");
        let bytes = archive.finish();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(&text[..14], "07070100000001");
        assert_eq!(&text[110..116], "bin\0\0\0", "a header of 110 bytes, a name, two bytes that fill");
        let second = 116;
        assert_eq!(&text[second..second + 6], MAGIC);
        assert_eq!(&text[second + 54..second + 62], "00000005", "the file's size");
        assert_eq!(&text[second + 94..second + 102], "00000007", "the name's length with its zero");
        let content = (second + 110 + 7_usize).next_multiple_of(4);
        assert_eq!(&text[content..content + 5], "12345");
        let last = (content + 5).next_multiple_of(4);
        assert_eq!(&text[last + 110..last + 120], LAST);
    }
}
