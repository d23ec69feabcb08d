//! Sentences on a terminal.

use crate::write::columns::printable;

/// How wide a sentence is.
const WIDTH: usize = 100;

/// A sentence in lines of at most [`WIDTH`] characters, if its words are not longer. Spaces that do not break
/// become plain ones.
pub(super) fn in_lines(sentence: &str) -> String {
    let (mut text, mut width) = (String::new(), 0);
    for word in sentence.split(' ') {
        let word = word.split('\u{a0}').map(printable).collect::<Vec<_>>().join(" ");
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            text.push('\n');
            width = 0;
        } else if width > 0 {
            text.push(' ');
            width += 1;
        }
        text.push_str(&word);
        width += length;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sentences_are_broken_between_words() {
        let sentence = "word ".repeat(50);
        let lines = in_lines(sentence.trim());
        assert!(lines.lines().count() == 3 && lines.lines().all(|line| line.len() <= WIDTH), "{lines}");
        assert_eq!(lines.replace('\n', " "), sentence.trim());
        let word = "x".repeat(200);
        assert_eq!(in_lines(&format!("a {word} b")), format!("a\n{word}\nb"));
    }
}
