//! Making an image: Debian by debootstrap, jars by Maven, all in one layer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::LABEL;
use super::recipe::{Jars, Recipe};
use crate::process::{self, Result};
use crate::workspace;

/// Left out of the image: nothing reads it there.
const CLUTTER: &[&str] = &[
    "var/cache/apt",
    "var/lib/apt/lists",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
];

/// Makes the image and gives it its name.
pub(super) fn build(recipe: &Recipe) -> Result {
    let folder = Scratch::new(recipe.service())?;
    let root = folder.path.join("root");
    debootstrap(recipe, &root)?;
    if let Some(jars) = &recipe.parts.jars {
        copy_jars(jars, &folder.path, &root)?;
    }
    for file in &recipe.parts.files {
        write(&inside(&root, &file.path), &file.text)?;
    }
    for clutter in CLUTTER {
        remove(&root.join(clutter))?;
    }
    import(recipe, &root)
}

/// A folder that only root can empty, as its content belongs to it.
#[derive(Debug)]
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new(name: &str) -> Result<Self> {
        let path = workspace::target_dir().join("images").join(name);
        let scratch = Self { path };
        remove(&scratch.path)?;
        fs::create_dir_all(&scratch.path).map_err(|error| at(&scratch.path, &error))?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A leftover is removed before the next use.
        let _ = remove(&self.path);
    }
}

fn debootstrap(recipe: &Recipe, root: &Path) -> Result {
    let mut command = as_root("debootstrap");
    command.arg("--variant=minbase");
    command.arg(format!("--include={}", recipe.parts.packages.join(",")));
    command.arg(&recipe.parts.suite).arg(root);
    command.args(mirror());
    let log = root.with_extension("log");
    let file = fs::File::create(&log).map_err(|error| at(&log, &error))?;
    process::run(command.stdout(file)).map_err(|error| {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(10)..];
        format!("{error}\n{}", last.join("\n"))
    })
}

/// The mirror that this machine's apt uses; without one, debootstrap's own default.
fn mirror() -> Option<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut more: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        more.sort();
        files.extend(more);
    }
    let texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    texts.into_iter().find_map(|text| first_archive(&text))
}

/// The first archive in a list of apt's, in either of its formats, that is not the one of security
/// updates.
fn first_archive(list: &str) -> Option<String> {
    let words = list.lines().map(str::trim).filter_map(|line| {
        let rest = line
            .strip_prefix("URIs:")
            .or_else(|| line.strip_prefix("deb "))?;
        rest.split_whitespace().find(|word| word.contains("://"))
    });
    let main = |word: &&str| !word.contains("security");
    words.into_iter().find(main).map(str::to_owned)
}

fn copy_jars(jars: &Jars, scratch: &Path, root: &Path) -> Result {
    let pom = scratch.join("pom.xml");
    write(&pom, &pom_of(jars)?)?;
    let folder = scratch.join("jars");
    let mut maven = Command::new("mvn");
    maven.args(["--quiet", "--batch-mode", "--file"]).arg(&pom);
    maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    maven.arg(format!("-DoutputDirectory={}", folder.display()));
    process::run(&mut maven)?;
    let target = inside(root, &jars.into);
    let parent = target.parent().unwrap_or(root);
    fs::create_dir_all(parent).map_err(|error| at(parent, &error))?;
    fs::rename(&folder, &target).map_err(|error| at(&target, &error))
}

fn pom_of(jars: &Jars) -> Result<String> {
    let mut dependencies = String::new();
    for artifact in &jars.artifacts {
        let parts: Vec<&str> = artifact.split(':').collect();
        let [group, name, version] = parts[..] else {
            return Err(format!("`{artifact}` is not group:artifact:version"));
        };
        dependencies.push_str(&format!(
            "<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>\
             <version>{version}</version></dependency>"
        ));
    }
    Ok(format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>statehouse</groupId><artifactId>stand-in</artifactId><version>1</version>\
         <dependencies>{dependencies}</dependencies></project>\n"
    ))
}

/// Debian's files belong to many users: tar, as root, keeps them so.
fn import(recipe: &Recipe, root: &Path) -> Result {
    let mut pack = as_root("tar");
    pack.arg("-C").arg(root).args(["-c", "."]);
    let mut packing = pack
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start tar: {error}"))?;
    let layer = packing.stdout.take().ok_or("tar has no output")?;
    let mut docker = Command::new("docker");
    docker.arg("import");
    docker.args(["--change", &format!("LABEL {LABEL}={}", recipe.hash())]);
    for (name, value) in &recipe.parts.environment {
        docker.args(["--change", &format!("ENV {name}={value}")]);
    }
    docker.args(["-", &recipe.image()]).stdin(layer);
    process::run(&mut docker)?;
    match packing.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("tar failed: {status}")),
        Err(error) => Err(format!("tar: {error}")),
    }
}

fn as_root(program: &str) -> Command {
    let is_root = process::quiet_output(Command::new("id").arg("-u"));
    if is_root.is_some_and(|id| id.trim() == "0") {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.arg(program);
    command
}

fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn write(path: &Path, text: &str) -> Result {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|error| at(folder, &error))?;
    fs::write(path, text).map_err(|error| at(path, &error))
}

fn remove(path: &Path) -> Result {
    if !path.exists() {
        return Ok(());
    }
    process::run(as_root("rm").args(["-rf", "--one-file-system"]).arg(path))
}

fn at(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_read_from_either_format() {
        let sources = "Types: deb\nURIs: http://security.example/debian-security\n\n\
                       URIs: http://mirror.example/debian\nSuites: bookworm\n";
        let list = "# deb http://no.example/\ndeb [arch=amd64] http://mirror.example/debian x main";
        for text in [sources, list] {
            assert_eq!(
                first_archive(text).as_deref(),
                Some("http://mirror.example/debian")
            );
        }
        assert_eq!(first_archive("deb cdrom: x"), None);
    }

    #[test]
    fn a_pom_names_each_artifact() {
        let jars = |artifact: &str| Jars {
            into: "/lib".to_owned(),
            artifacts: vec![artifact.to_owned()],
        };
        let pom = pom_of(&jars("org.example:thing:1.2")).expect("valid");
        assert!(pom.contains("<artifactId>thing</artifactId><version>1.2</version>"));
        let message = pom_of(&jars("thing")).expect_err("incomplete");
        assert!(message.contains("`thing`"), "{message}");
    }

    #[test]
    fn a_path_of_the_image_stays_in_it() {
        let path = inside(Path::new("root"), "/etc/x");
        assert_eq!(path, Path::new("root/etc/x"));
    }
}
