//! The reference of all keys, written from their table.

use std::fmt::Write as _;

use super::keys;

/// The page `docs/configuration.md`: every key with its value, default and meaning, in Markdown.
pub fn reference() -> String {
    let mut page = String::from(INTRODUCTION);
    let mut section = String::new();
    for key in keys() {
        let (table, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if table != section {
            section = table.to_owned();
            let heading = match table.strip_suffix(".*") {
                Some(list) => format!("[[{list}]]"),
                None => format!("[{table}]"),
            };
            let head = "| key | value | default | meaning |\n|---|---|---|---|";
            // Writing to a String cannot fail.
            let _ = writeln!(page, "\n## `{heading}`\n\n{head}");
        }
        let default = match key.default {
            "" => "none".to_owned(),
            text => format!("`{text}`"),
        };
        let (expected, about) = (key.expected(), key.about);
        let _ = writeln!(page, "| `{name}` | {expected} | {default} | {about} |");
    }
    page.push_str("\n## Names of earlier tools\n\n");
    for line in include_str!("earlier.rs")
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
    {
        let _ = writeln!(page, "{}", line.strip_prefix(' ').unwrap_or(line));
    }
    page
}

const INTRODUCTION: &str = "\
# Configuration

`statehouse` reads `statehouse.toml` in the working directory if it is there, or the file that \
`--config` names, then `STATEHOUSE_*` environment variables, then flags; later sources win. It \
needs none of them: by default it listens on 127.0.0.1:7717 and keeps everything in \
`statehouse.db` in the working directory.

The key `listen` of `[server]` is `STATEHOUSE_SERVER__LISTEN` in the environment: sections are \
joined by two underscores. List entries go by their index: \
`STATEHOUSE_SERVER__TOKENS__0__TOKEN_ENV`. A list of texts is joined by commas there, and an empty \
variable stands for none.

`statehouse config check` reports everything that is wrong at once, and `statehouse config show` \
prints every value with its origin, passwords hidden. Keep secrets in environment variables or \
files, and name those here.

<!-- Written from the table of keys; UPDATE_DOCS=1 cargo test -p statehouse-config writes it anew. -->
";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(path, reference()).unwrap();
        }
        let page = fs::read_to_string(path).unwrap().replace("\r\n", "\n");
        assert!(
            page == reference(),
            "run UPDATE_DOCS=1 cargo test -p statehouse-config"
        );
    }
}
