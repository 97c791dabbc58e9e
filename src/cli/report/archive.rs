//! The archive: pages as a tar file (POSIX ustar), packed by gzip, which every system has.

use std::fs::File;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use super::Page;

/// Writes the pages, as of `now` (seconds since 1970), and tells how many bytes the file has then.
///
/// # Errors
/// When gzip is missing or fails, or the disk is full.
pub fn write(file: &File, pages: &[Page], now: u64) -> io::Result<u64> {
    let mut gzip =
        Command::new("gzip").args(["-9", "-n"]).stdin(Stdio::piped()).stdout(file.try_clone()?).spawn()?;
    let stdin = gzip.stdin.take().ok_or_else(|| io::Error::other("gzip has no input"))?;
    let written = tar(stdin, pages, now); // and closes it, which ends gzip
    let ended = gzip.wait()?;
    if !ended.success() {
        return Err(io::Error::other(format!("gzip failed: {ended}")));
    }
    written?;
    file.metadata().map(|metadata| metadata.len())
}

fn tar(mut to: impl Write, pages: &[Page], now: u64) -> io::Result<()> {
    for page in pages {
        let bytes = page.text.as_bytes();
        to.write_all(&header(&format!("uplinkd-report/{}", page.name), bytes.len(), now))?;
        to.write_all(bytes)?;
        to.write_all(&[0; BLOCK][..bytes.len().next_multiple_of(BLOCK) - bytes.len()])?;
    }
    to.write_all(&[0; 2 * BLOCK])
}

/// Of one file; a name of more than 100 bytes, which no page has, would be cut.
fn header(name: &str, size: usize, now: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str, most: usize| {
        let bytes = &text.as_bytes()[..text.len().min(most)];
        block[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(0, name, 100);
    put(100, "0000600", 7);
    put(108, "0000000", 7);
    put(116, "0000000", 7);
    put(124, &format!("{size:011o}"), 11);
    put(136, &format!("{now:011o}"), 11);
    put(148, "        ", 8); // the sum is made with spaces in its own place
    put(156, "0", 1);
    put(257, "ustar\u{0}00", 8);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

const BLOCK: usize = 512;
