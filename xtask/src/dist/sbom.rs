//! The bill of materials: CycloneDX 1.6, made from cargo's own dependency graph.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::process::Result;
use crate::workspace::{Edge, Metadata, Package, RUNTIME, Resolve};

/// Packages by id.
type Packages<'a> = BTreeMap<&'a str, &'a Package>;

/// Ids of packages, each with those it depends on.
type Edges<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// The document for what the runtime is built from. What is linked into it is "required"; what only
/// ran to build it (build scripts, procedural macros and theirs) is "excluded".
pub(super) fn document(metadata: &Metadata, lock: &str, epoch: u64) -> Result<String> {
    let all = metadata.packages.iter();
    let packages: Packages<'_> = all.map(|package| (package.id.as_str(), package)).collect();
    let runtime = packages.values().find(|package| package.name == RUNTIME);
    let runtime = *runtime.ok_or_else(|| format!("no package `{RUNTIME}`"))?;
    let resolve = metadata.resolve.as_ref();
    let resolve = resolve.ok_or("cargo metadata gave no dependency graph")?;

    let used = reachable(resolve, &runtime.id, |edge| {
        edge.is_normal() || edge.is("build")
    });
    let linked = reachable(resolve, &runtime.id, |edge| {
        edge.is_normal()
            && !packages
                .get(edge.pkg.as_str())
                .is_some_and(|p| p.is_proc_macro())
    });
    let sums = checksums(lock)?;
    let others = used
        .keys()
        .filter(|id| **id != runtime.id)
        .filter_map(|id| packages.get(id));
    let components = others.map(|package| {
        let is_linked = linked.contains_key(package.id.as_str());
        let scope = if is_linked { "required" } else { "excluded" };
        component(package, "library", scope, &sums)
    });
    let mut document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": timestamp(epoch)?,
            "component": component(runtime, "application", "required", &sums),
        },
        "components": components.collect::<Vec<Value>>(),
        "dependencies": dependencies(&used, &packages),
    });
    document["serialNumber"] = json!(serial_number(&document.to_string()));
    let text = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;
    Ok(text + "\n")
}

fn dependencies(edges: &Edges<'_>, packages: &Packages<'_>) -> Vec<Value> {
    let reference = |id: &&str| packages.get(id).map(|package| purl(package));
    let entry = |(id, on): (&&str, &Vec<&str>)| {
        let on: BTreeSet<String> = on.iter().filter_map(reference).collect();
        json!({ "ref": reference(id), "dependsOn": on })
    };
    edges.iter().map(entry).collect()
}

/// Each package that the edges to follow lead to, with those they lead to from there.
fn reachable<'a>(
    resolve: &'a Resolve,
    from: &'a str,
    follow: impl Fn(&'a Edge) -> bool,
) -> Edges<'a> {
    let mut edges = Edges::new();
    let mut open = vec![from];
    while let Some(id) = open.pop() {
        if edges.contains_key(id) {
            continue;
        }
        let node = resolve.nodes.iter().find(|node| node.id == id);
        let deps = node.map_or(&[][..], |node| &node.deps);
        let on: Vec<&str> = deps
            .iter()
            .filter(|edge| follow(edge))
            .map(|edge| edge.pkg.as_str())
            .collect();
        open.extend(&on);
        edges.insert(id, on);
    }
    edges
}

fn component(package: &Package, kind: &str, scope: &str, sums: &BTreeMap<String, String>) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": purl(package),
        "name": package.name,
        "version": package.version,
        "purl": purl(package),
        "scope": scope,
    });
    if let Some(text) = &package.description {
        component["description"] = json!(text.trim());
    }
    if let Some(license) = &package.license {
        // "MIT/Apache-2.0" is how old manifests say OR.
        component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
    }
    if let Some(url) = &package.repository {
        component["externalReferences"] = json!([{ "type": "vcs", "url": url }]);
    }
    if let Some(sum) = sums
        .get(&purl(package))
        .filter(|_| package.source.is_some())
    {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
    }
    component
}

fn purl(package: &Package) -> String {
    // `+` begins build metadata in a version, and means a space in a URL.
    format!(
        "pkg:cargo/{}@{}",
        package.name,
        package.version.replace('+', "%2B")
    )
}

/// The checksums of Cargo.lock by package URL.
fn checksums(lock: &str) -> Result<BTreeMap<String, String>> {
    let lock: toml::Table = lock
        .parse()
        .map_err(|error| format!("Cargo.lock: {error}"))?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let sum = |package: &toml::Value| {
        let text = |key| Some(package.get(key)?.as_str()?.to_owned());
        let named = Package {
            name: text("name")?,
            version: text("version")?,
            ..Package::default()
        };
        Some((purl(&named), text("checksum")?))
    };
    Ok(packages.into_iter().flatten().filter_map(sum).collect())
}

fn timestamp(epoch: u64) -> Result<String> {
    let seconds = i64::try_from(epoch).map_err(|error| error.to_string())?;
    let time = jiff::Timestamp::from_second(seconds).map_err(|error| error.to_string())?;
    Ok(time.to_string())
}

/// A UUID (version 8) from the content: the same build has the same number.
fn serial_number(content: &str) -> String {
    let mut bytes = Sha256::digest(content);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    format!("urn:uuid:{}", parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{
        "packages": [
            { "id": "r", "name": "statehouse-runtime", "version": "0.1.0", "license": "Apache-2.0",
              "description": "d", "repository": null, "source": null, "manifest_path": "/r/Cargo.toml",
              "dependencies": [], "features": {}, "targets": [] },
            { "id": "a", "name": "a", "version": "1.0.0+b", "license": "MIT/Apache-2.0",
              "description": null, "repository": "https://example.org/a", "source": "registry",
              "manifest_path": "/a/Cargo.toml", "dependencies": [], "features": {}, "targets": [] },
            { "id": "m", "name": "m", "version": "2.0.0", "license": null,
              "description": null, "repository": null, "source": "registry",
              "manifest_path": "/m/Cargo.toml", "dependencies": [], "features": {},
              "targets": [{ "name": "m", "kind": ["proc-macro"], "doctest": true }] },
            { "id": "t", "name": "only-tests", "version": "1.0.0", "license": "MIT",
              "description": null, "repository": null, "source": "registry",
              "manifest_path": "/t/Cargo.toml", "dependencies": [], "features": {}, "targets": [] }
        ],
        "resolve": { "nodes": [
            { "id": "r", "deps": [
                { "pkg": "a", "dep_kinds": [{ "kind": "dev" }, { "kind": null }] },
                { "pkg": "m", "dep_kinds": [{ "kind": null }] },
                { "pkg": "t", "dep_kinds": [{ "kind": "dev" }] } ] },
            { "id": "a", "deps": [] },
            { "id": "m", "deps": [] },
            { "id": "t", "deps": [] }
        ] }
    }"#;

    const LOCK: &str = "[[package]]\nname = \"a\"\nversion = \"1.0.0+b\"\nchecksum = \"abcd\"\n";

    #[test]
    fn what_is_linked_is_listed_with_its_graph() {
        let metadata: Metadata = serde_json::from_str(METADATA).expect("metadata");
        let text = document(&metadata, LOCK, 1_700_000_000).expect("a document");
        let bom: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(
            bom["metadata"]["component"]["purl"],
            "pkg:cargo/statehouse-runtime@0.1.0"
        );
        assert_eq!(bom["metadata"]["timestamp"], "2023-11-14T22:13:20Z");
        let components = bom["components"].as_array().expect("a list");
        assert_eq!(components.len(), 2, "tests are not shipped: {text}");
        assert_eq!(components[0]["bom-ref"], "pkg:cargo/a@1.0.0%2Bb");
        assert_eq!(
            components[0]["licenses"][0]["expression"],
            "MIT OR Apache-2.0"
        );
        assert_eq!(components[0]["scope"], "required");
        assert_eq!(
            components[1]["scope"], "excluded",
            "a macro is not shipped: {text}"
        );
        assert_eq!(components[0]["hashes"][0]["content"], "abcd");
        let expected = json!([
            { "ref": "pkg:cargo/a@1.0.0%2Bb", "dependsOn": [] },
            { "ref": "pkg:cargo/m@2.0.0", "dependsOn": [] },
            { "ref": "pkg:cargo/statehouse-runtime@0.1.0", "dependsOn": ["pkg:cargo/a@1.0.0%2Bb", "pkg:cargo/m@2.0.0"] },
        ]);
        assert_eq!(bom["dependencies"], expected);
    }

    #[test]
    fn the_same_build_has_the_same_serial_number() {
        let number = serial_number("x");
        assert_eq!(number, serial_number("x"));
        assert_ne!(number, serial_number("y"));
        assert_eq!(number.len(), "urn:uuid:".len() + 36);
        assert_eq!(&number[23..24], "8", "version 8: {number}");
    }
}
