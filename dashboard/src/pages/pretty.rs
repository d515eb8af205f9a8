//! Pretty-prints JSON with line breaks and indents. Every character of a value stays as it was sent.

/// Indents JSON. Returns invalid JSON unchanged.
pub fn pretty(json: &str) -> String {
    if serde_json::from_str::<serde::de::IgnoredAny>(json).is_err() {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut is_escaped = false;
    let mut chars = json.chars().peekable();
    while let Some(char) = chars.next() {
        if in_string {
            out.push(char);
            in_string = is_escaped || char != '"';
            is_escaped = char == '\\' && !is_escaped;
            continue;
        }
        match char {
            '{' | '[' => {
                out.push(char);
                while chars.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(close) = chars.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(char);
            }
            ',' => {
                out.push(char);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            '"' => {
                out.push(char);
                in_string = true;
            }
            char if char.is_ascii_whitespace() => {}
            char => out.push(char),
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_its_values_are_unchanged() {
        let json = r#"{"a":[1.10,{}, [ ],"x\"{,:"],"b":"\\","c":1e400}"#;
        let expected = "{\n  \"a\": [\n    1.10,\n    {},\n    [],\n    \"x\\\"{,:\"\n  ],\n  \"b\": \"\\\\\",\n  \"c\": 1e400\n}";
        assert_eq!(pretty(json), expected);
        assert_eq!(pretty("{not json"), "{not json");
    }
}
