//! Blanks what is not code, so that a rule can look for words without finding them in prose.

/// The same text, line for line, with the contents of comments, strings and character literals
/// turned into spaces.
pub(crate) fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(
                chars[at..end]
                    .iter()
                    .map(|&c| if c == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` itself if none begins there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1);
    match chars[at] {
        '/' if next == Some(&'/') => find(chars, at, '\n'),
        '/' if next == Some(&'*') => block_comment_end(chars, at),
        '"' => string_end(chars, at),
        'r' if !follows_word(chars, at) => raw_string_end(chars, at),
        '\'' => char_end(chars, at),
        _ => at,
    }
}

fn find(chars: &[char], from: usize, wanted: char) -> usize {
    let from = from.min(chars.len());
    let rest = &chars[from..];
    from + rest.iter().position(|&c| c == wanted).unwrap_or(rest.len())
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut position = at;
    while position < chars.len() {
        match (chars[position], chars.get(position + 1)) {
            ('/', Some('*')) => depth += 1,
            ('*', Some('/')) => depth -= 1,
            _ => {
                position += 1;
                continue;
            }
        }
        position += 2;
        if depth == 0 {
            return position;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut position = at + 1;
    while position < chars.len() {
        match chars[position] {
            '\\' => position += 2,
            '"' => return position + 1,
            _ => position += 1,
        }
    }
    chars.len()
}

/// Ends `r"…"` and `r#"…"#`; a raw identifier or a plain `r` is no literal.
fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return at;
    }
    let mut position = open + 1;
    while position < chars.len() {
        let after = &chars[position + 1..];
        if chars[position] == '"' && after.iter().take_while(|&&c| c == '#').count() >= hashes {
            return position + 1 + hashes;
        }
        position += 1;
    }
    chars.len()
}

/// Ends `'x'` and `'\n'`; a lifetime is no literal.
fn char_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => (find(chars, at + 3, '\'') + 1).min(chars.len()),
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// True in the middle of an identifier; `br"…"` and `cr"…"` are literals all the same.
fn follows_word(chars: &[char], at: usize) -> bool {
    let word = chars[..at]
        .iter()
        .rev()
        .take_while(|c| c.is_alphanumeric() || **c == '_');
    let word: Vec<&char> = word.collect();
    !matches!(word.as_slice(), [] | ['b' | 'c'])
}

#[cfg(test)]
mod tests {
    use super::code;

    #[test]
    fn only_code_is_left() {
        let table = [
            ("a // b", "a     "),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x\"y", z)"#, "f(      , z)"),
            ("r\"\\\" x", "     x"),
            ("r#\"a\"b\"# x", "         x"),
            ("br\"a\" x", "b     x"),
            ("var\"a\"", "var   "),
            ("r#type x", "r#type x"),
            ("'{' '\\'' '\\u{7f}' 'a: x", "                  'a: x"),
            ("\"open", "     "),
            ("/* open", "       "),
            ("\"a\nb\" c", "  \n   c"),
            ("b'x' y", "b    y"),
            ("'", "'"),
            ("'\\", "  "),
        ];
        for (text, expected) in table {
            assert_eq!(code(text), expected, "{text}");
        }
    }
}
