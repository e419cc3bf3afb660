//! What was meant by a name that nobody knows.

/// serde's message about an unknown field or variant, with the nearest known name in the place of
/// the list of all of them; other messages as they are.
pub(super) fn clearer(message: &str) -> String {
    let Some((before, list)) = message.split_once(", expected ") else {
        return message.to_owned();
    };
    let Some((what, name)) = unknown(before) else {
        return message.to_owned();
    };
    let known: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    let after = list.rsplit('`').next().unwrap_or_default();
    let nearest = known
        .iter()
        .min_by_key(|known| strsim::damerau_levenshtein(name, known));
    match nearest {
        Some(nearest) => {
            format!("unknown {what} `{name}`; the nearest known one is `{nearest}`{after}")
        }
        None => format!("unknown {what} `{name}`; none is known here{after}"),
    }
}

/// The kind and the name in "unknown field `x`".
fn unknown(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix("unknown ")?;
    let (what, name) = rest.split_once(" `")?;
    Some((what, name.strip_suffix('`')?))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its errors are looked at")]
    struct Known {
        limit: Option<u32>,
        cursor: Option<String>,
    }

    #[test]
    fn an_unknown_name_gets_its_nearest() {
        let says = |text: &str| {
            let error = serde_json::from_str::<Known>(text).unwrap_err();
            clearer(&error.to_string())
        };
        assert_eq!(
            says(r#"{"limits":1}"#),
            "unknown field `limits`; the nearest known one is `limit` at line 1 column 9"
        );
        assert!(says(r#"{"limit":"x"}"#).starts_with("invalid type: string"));
        assert!(says("{").starts_with("EOF while parsing"));
    }
}
