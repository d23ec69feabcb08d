//! The templates of the pages.

use minijinja::{AutoEscape, Environment, HtmlEscape, Value};

/// Templates that escape each text. Their filter `sentence` makes code of a text between two backticks.
pub(in crate::cli) fn templates() -> Environment<'static> {
    let mut templates = Environment::new();
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    templates.add_filter("sentence", |text: &str| Value::from_safe_string(sentence(text)));
    templates
}

fn sentence(text: &str) -> String {
    let escaped = HtmlEscape(text).to_string();
    let mut pieces = escaped.split('`');
    let mut markup = pieces.next().unwrap_or_default().to_owned();
    while let Some(piece) = pieces.next() {
        markup += &match pieces.next() {
            Some(after) => format!("<code>{piece}</code>{after}"),
            None => format!("`{piece}"),
        };
    }
    markup
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_between_backticks_is_code_and_all_is_escaped() {
        let shown = ["no code", "`a <b>` or `c`: <i>", "`a` is no `b", "`"].map(sentence);
        let code = "<code>a &lt;b&gt;</code> or <code>c</code>: &lt;i&gt;";
        assert_eq!(shown, ["no code", code, "<code>a</code> is no `b", "`"]);
    }
}
