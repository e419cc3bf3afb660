//! What a stand-in image is made of, from the table of services.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::process::Result;
use crate::workspace;

const TABLE: &str = "integration-tests/services.toml";

/// Part of every hash: to be raised when images are made in another way.
const METHOD: u32 = 1;

/// The images of one service.
#[derive(Clone, Debug)]
pub(crate) struct Images {
    pub(crate) service: String,
    pub(crate) public: String,
    pub(crate) stand_in: Option<Recipe>,
}

/// How a stand-in is made.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    service: String,
    pub(crate) parts: Parts,
}

/// The `[service.stand-in]` of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parts {
    tag: String,
    /// The Debian suite.
    pub(crate) suite: String,
    /// Debian packages.
    pub(crate) packages: Vec<String>,
    /// Variables that every command in the image sees.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) jars: Option<Jars>,
    #[serde(default)]
    pub(crate) files: Vec<File>,
}

/// Java libraries from Maven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Jars {
    /// The folder in the image for them and all that they need.
    pub(crate) into: String,
    /// `group:artifact:version`.
    pub(crate) artifacts: Vec<String>,
}

/// A text file in the image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// What this program reads of the table.
#[derive(Deserialize)]
struct Table {
    service: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    name: String,
    image: String,
    #[serde(rename = "stand-in")]
    stand_in: Option<Parts>,
}

impl Images {
    /// Those of every service in the table.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let path = workspace::root().join(TABLE);
        let text = fs::read_to_string(&path).map_err(|error| format!("{TABLE}: {error}"))?;
        Self::parse(&text).map_err(|error| format!("{TABLE}: {error}"))
    }

    fn parse(text: &str) -> std::result::Result<Vec<Self>, toml::de::Error> {
        let table: Table = toml::from_str(text)?;
        let images = |service: Service| Self {
            stand_in: service.stand_in.map(|parts| Recipe {
                service: service.name.clone(),
                parts,
            }),
            service: service.name,
            public: service.image,
        };
        Ok(table.service.into_iter().map(images).collect())
    }
}

impl Recipe {
    /// The service it is for.
    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// The image's name and tag.
    pub(crate) fn image(&self) -> String {
        format!("statehouse/{}:{}", self.service, self.parts.tag)
    }

    /// Changes whenever the image must be made anew.
    pub(crate) fn hash(&self) -> String {
        let text = serde_json::to_string(&(METHOD, &self.parts)).unwrap_or_default();
        let digest = Sha256::digest(text);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [[service]]
        name = "a"
        image = "a:1"

        [[service]]
        name = "b"
        image = "b:1"
        [service.stand-in]
        tag = "2"
        suite = "s"
        packages = ["p"]
    "#;

    fn recipe(text: &str) -> Recipe {
        let images = Images::parse(text).expect("valid");
        images[1].stand_in.clone().expect("a recipe")
    }

    #[test]
    fn a_service_may_have_no_recipe() {
        let images = Images::parse(TEXT).expect("valid");
        assert!(images[0].stand_in.is_none());
        assert_eq!(images[0].public, "a:1");
        assert_eq!(recipe(TEXT).image(), "statehouse/b:2");
    }

    #[test]
    fn a_changed_recipe_has_another_hash() {
        let hash = |text: &str| recipe(text).hash();
        assert_eq!(hash(TEXT), hash(TEXT));
        assert_ne!(hash(TEXT), hash(&TEXT.replace("\"p\"", "\"p\", \"q\"")));
        assert_eq!(hash(TEXT), hash(&TEXT.replace("b:1", "b:2")), "not of it");
    }

    #[test]
    fn a_misspelt_part_is_refused() {
        let error = Images::parse(&TEXT.replace("packages", "package")).expect_err("misspelt");
        assert!(error.to_string().contains("package"), "{error}");
    }

    #[test]
    fn the_table_can_be_read() {
        assert!(!Images::all().expect("it can be read").is_empty());
    }
}
