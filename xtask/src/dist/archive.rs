//! A tar.gz that depends on nothing but the files' names and contents.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// Packs `folder` as `name/…`, every entry dated `epoch` and owned by nobody in particular.
pub(super) fn pack(folder: &Path, name: &str, epoch: u64, archive: &Path) -> io::Result<()> {
    let file = File::create(archive)?;
    let gzip = GzBuilder::new().mtime(0).write(file, Compression::best());
    let mut tar = Builder::new(gzip);
    append(&mut tar, folder, name, epoch)?;
    tar.into_inner()?.finish()?.sync_all()
}

fn append<W: Write>(tar: &mut Builder<W>, folder: &Path, name: &str, epoch: u64) -> io::Result<()> {
    let mut header = header(EntryType::Directory, 0o755, epoch);
    tar.append_data(&mut header, format!("{name}/"), io::empty())?;
    for path in entries(folder)? {
        let inner = format!(
            "{name}/{}",
            path.file_name().unwrap_or_default().to_string_lossy()
        );
        if path.is_dir() {
            append(tar, &path, &inner, epoch)?;
            continue;
        }
        let executable = fs::metadata(&path)?.permissions().mode() & 0o100 != 0;
        let bytes = fs::read(&path)?;
        let mut header = self::header(
            EntryType::Regular,
            if executable { 0o755 } else { 0o644 },
            epoch,
        );
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, inner, bytes.as_slice())?;
    }
    Ok(())
}

fn header(kind: EntryType, mode: u32, epoch: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(epoch);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

/// What lies directly in a folder, sorted by name.
pub(super) fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let found: io::Result<Vec<PathBuf>> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect();
    let mut found = found?;
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let folder = workspace::target_dir().join("xtask-test-archive");
        let pack_once = |out: &str| {
            let stage = folder.join("stage");
            fs::create_dir_all(stage.join("b"))?;
            // Written anew each time: neither times nor the order of writing may show.
            fs::write(stage.join("b/c"), out.len().to_string())?;
            fs::write(stage.join("a"), "x")?;
            let archive = folder.join(out);
            pack(&stage, "s", 1_700_000_000, &archive)?;
            fs::read(archive)
        };
        let first = pack_once("1.tar.gz").expect("packs");
        let second = pack_once("2.tar.gz").expect("packs");
        assert_eq!(first, second);

        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(first.as_slice()));
        let entries = tar.entries().expect("a tar");
        let names: Vec<String> = entries
            .map(|entry| {
                entry
                    .and_then(|e| Ok(e.path()?.display().to_string()))
                    .expect("entry")
            })
            .collect();
        assert_eq!(names, ["s/", "s/a", "s/b/", "s/b/c"]);
    }
}
