//! `cargo xtask dist`: one archive with everything a machine needs to run the binary.

mod archive;
mod sbom;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::process::{self, Result, cargo};
use crate::workspace::{self, RUNTIME};

const BINARY: &str = "statehouse";

/// Shells that get completions, with the file name each of them expects.
const SHELLS: &[(&str, &str)] = &[
    ("bash", "statehouse.bash"),
    ("zsh", "_statehouse"),
    ("fish", "statehouse.fish"),
];

/// What is asked for on the command line.
#[derive(Debug, PartialEq)]
struct Options {
    /// `None`: the default features.
    features: Option<String>,
    out: PathBuf,
}

/// `cargo xtask dist [--features A,B] [--out DIR]`
pub(crate) fn main(arguments: &[String]) -> Result {
    let options = Options::parse(arguments)?;
    let target = host_target()?;
    let mut arguments = feature_arguments(options.features.as_deref());
    arguments.extend(["--filter-platform", &target]);
    let metadata = workspace::metadata(&arguments)?;
    let runtime = metadata
        .packages
        .iter()
        .find(|package| package.name == RUNTIME);
    let version = &runtime
        .ok_or_else(|| format!("no package `{RUNTIME}`"))?
        .version;
    let name = format!("{BINARY}-{version}-{target}");
    let stage = workspace::target_dir().join("dist-stage").join(&name);
    let epoch = source_date_epoch()?;

    let binary = build(options.features.as_deref(), epoch)?;
    fill(&stage, &binary)?;
    let lock = read(&workspace::root().join("Cargo.lock"))?;
    let bom = sbom::document(&metadata, &lock, epoch)?;
    write(&stage.join(format!("{BINARY}.cdx.json")), bom.as_bytes())?;
    write(&stage.join("SHA256SUMS"), sums(&stage, "")?.as_bytes())?;

    fs::create_dir_all(&options.out).map_err(|error| at(&options.out, &error))?;
    let archive = options.out.join(format!("{name}.tar.gz"));
    archive::pack(&stage, &name, epoch, &archive).map_err(|error| at(&archive, &error))?;
    let sum = format!("{}  {name}.tar.gz\n", sha256(&archive)?);
    write(
        &options.out.join(format!("{name}.tar.gz.sha256")),
        sum.as_bytes(),
    )?;
    eprintln!("{}", archive.display());
    Ok(())
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            features: None,
            out: workspace::target_dir().join("dist-archives"),
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let value = rest
                .next()
                .ok_or_else(|| format!("`{argument}` needs a value"))?;
            match argument.as_str() {
                "--features" => options.features = Some(value.clone()),
                "--out" => options.out = PathBuf::from(value),
                _ => return Err(format!("unknown option `{argument}`: --features or --out")),
            }
        }
        Ok(options)
    }
}

/// For `cargo metadata` and `cargo build` alike, so that the SBOM lists what was built.
fn feature_arguments(features: Option<&str>) -> Vec<&str> {
    let mut arguments = vec!["--locked", "--manifest-path", "crates/runtime/Cargo.toml"];
    if let Some(features) = features {
        arguments.extend(["--no-default-features", "--features", features]);
    }
    arguments
}

/// Builds the binary without symbols and without the paths of this machine.
fn build(features: Option<&str>, epoch: u64) -> Result<PathBuf> {
    let mut command = cargo(["build", "--profile", "dist", "--bin", BINARY]);
    command.args(feature_arguments(features));
    command
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .env("RUSTFLAGS", remapped_paths());
    process::run(&mut command)?;
    Ok(workspace::target_dir().join("dist").join(BINARY))
}

fn remapped_paths() -> String {
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .unwrap_or_default();
    let cargo_home =
        std::env::var_os("CARGO_HOME").map_or_else(|| home.join(".cargo"), PathBuf::from);
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    [
        remap(workspace::root(), "/statehouse"),
        remap(&cargo_home, "/cargo"),
    ]
    .join(" ")
}

/// Lays out the archive's content: binary, licence, completions and man pages.
fn fill(stage: &Path, binary: &Path) -> Result {
    if stage.exists() {
        fs::remove_dir_all(stage).map_err(|error| at(stage, &error))?;
    }
    let man = stage.join("man");
    let completions = stage.join("completions");
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).map_err(|error| at(folder, &error))?;
    }
    copy(binary, &stage.join(BINARY))?;
    for page in ["LICENSE", "README.md", "CHANGELOG.md"] {
        copy(&workspace::root().join(page), &stage.join(page))?;
    }
    for (shell, file) in SHELLS {
        let script = process::output(Command::new(binary).args(["completions", shell]))?;
        write(&completions.join(file), script.as_bytes())?;
    }
    process::run(Command::new(binary).args(["man", "--out"]).arg(&man))
}

/// The lines of a SHA256SUMS file for all that lies in a folder, in order.
fn sums(folder: &Path, prefix: &str) -> Result<String> {
    let mut lines = String::new();
    for path in archive::entries(folder).map_err(|error| at(folder, &error))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            lines.push_str(&sums(&path, &format!("{prefix}{name}/"))?);
        } else {
            lines.push_str(&format!("{}  {prefix}{name}\n", sha256(&path)?));
        }
    }
    Ok(lines)
}

fn sha256(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|error| at(path, &error))?;
    Ok(Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// The target that this compiler builds for.
fn host_target() -> Result<String> {
    let text = process::output(
        Command::new("rustc")
            .arg("-vV")
            .current_dir(workspace::root()),
    )?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| "rustc -vV names no host".to_owned())
}

/// Seconds since 1970 that everything in the archive is dated with: the commit's time.
fn source_date_epoch() -> Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => {
            let words = ["log", "-1", "--format=%ct"];
            process::output(
                Command::new("git")
                    .args(words)
                    .current_dir(workspace::root()),
            )?
        }
    };
    text.trim()
        .parse()
        .map_err(|error| format!("SOURCE_DATE_EPOCH `{}`: {error}", text.trim()))
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn copy(from: &Path, to: &Path) -> Result {
    fs::copy(from, to)
        .map(drop)
        .map_err(|error| at(from, &error))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| at(path, &error))
}

fn write(path: &Path, bytes: &[u8]) -> Result {
    fs::write(path, bytes).map_err(|error| at(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused() {
        let parse = |words: &[&str]| {
            Options::parse(
                &words
                    .iter()
                    .map(|word| (*word).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        let given = parse(&["--features", "memory,sqlite", "--out", "x"]).expect("good");
        assert_eq!(given.features.as_deref(), Some("memory,sqlite"));
        assert_eq!(given.out, Path::new("x"));
        assert_eq!(parse(&[]).expect("good").features, None);
        for bad in [&["--features"][..], &["--output", "x"], &["x"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_sums_are_those_of_sha256sum() {
        let folder = workspace::target_dir().join("xtask-test-sums");
        fs::create_dir_all(folder.join("b")).expect("a folder");
        write(&folder.join("a"), b"abc").expect("a file");
        write(&folder.join("b/c"), b"").expect("a file");
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  b/c\n";
        assert_eq!(sums(&folder, ""), Ok(expected.to_owned()));
    }
}
