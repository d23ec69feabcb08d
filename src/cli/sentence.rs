//! Sentences on a terminal.

use crate::write::columns::printable;

/// How wide a sentence is, and a table that can be made narrower.
pub(super) const WIDTH: usize = 100;

/// A sentence in lines of at most [`WIDTH`] characters, if its words are not longer. Spaces that do not break
/// become plain ones.
pub(super) fn in_lines(sentence: &str) -> String {
    lines_of(sentence, WIDTH).join("\n")
}

/// The lines of a text, each of at most `width` characters.
pub(super) fn lines_of(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut filled) = (Vec::new(), String::new(), 0);
    for word in text.split(' ') {
        let word = word.split('\u{a0}').map(printable).collect::<Vec<_>>().join(" ");
        let length = word.chars().count();
        if filled > 0 && filled + 1 + length > width {
            lines.push(std::mem::take(&mut line));
            filled = 0;
        } else if filled > 0 {
            line.push(' ');
            filled += 1;
        }
        line.push_str(&word);
        filled += length;
    }
    lines.push(line);
    lines
}

/// A list as a sentence has it.
pub(super) fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [item] => item.clone(),
        [items @ .., last] => format!("{} and {last}", items.join(", ")),
    }
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
