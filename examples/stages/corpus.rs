//! The text that the model learns from, as sentences.

use std::{fs, path::Path};

use super::Result;

/// More text would only make the start slower.
const TEXT_LIMIT: usize = 256 * 1024;
/// Fewer words are a label or an abbreviation's dot, and belong to what follows.
const SENTENCE_MIN_WORDS: usize = 4;

pub(crate) fn read(path: &Path) -> Result<Vec<String>> {
    let text =
        fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let end = (0..=TEXT_LIMIT.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    let text = text.get(..end.unwrap_or(0)).unwrap_or_default();
    let sentences: Vec<_> = paragraphs(text).iter().flat_map(|paragraph| sentences(paragraph)).collect();
    if sentences.is_empty() {
        return Err(format!(
            "{} has no sentence of {SENTENCE_MIN_WORDS} words or more; a page of prose is what it takes",
            path.display()
        )
        .into());
    }
    Ok(sentences)
}

/// The first half of a sentence, for the model to go on from.
pub(crate) fn opening(sentence: &str) -> String {
    let words: Vec<_> = sentence.split_whitespace().collect();
    words.iter().take(words.len().div_ceil(2)).copied().collect::<Vec<_>>().join(" ")
}

/// The prose of a Markdown or plain text: no code, tables, headings, images or HTML.
fn paragraphs(text: &str) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    let mut in_code = false;
    for line in text.lines().map(str::trim) {
        let is_fence = line.starts_with("```") || line.starts_with("~~~");
        in_code ^= is_fence;
        let (line, begins_item) = match line.strip_prefix("- ").or_else(|| line.strip_prefix("* ")) {
            Some(item) => (item, true),
            None => (line, false),
        };
        let is_prose =
            !in_code && !is_fence && !line.is_empty() && !line.starts_with(['#', '|', '<', '!', '[']);
        if !is_prose || begins_item {
            paragraphs.push(String::new());
        }
        if is_prose && let Some(paragraph) = paragraphs.last_mut() {
            paragraph.push_str(&without_marks(line));
            paragraph.push(' ');
        }
    }
    paragraphs
}

/// Drops emphasis, code marks and the targets of links.
fn without_marks(line: &str) -> String {
    let mut words = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("](") {
        words.push_str(before);
        rest = after.split_once(')').map_or("", |(_, after)| after);
    }
    words.push_str(rest);
    words.retain(|c| !matches!(c, '*' | '`' | '['));
    words
}

fn sentences(paragraph: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut words = Vec::new();
    for word in paragraph.split_whitespace() {
        words.push(word);
        let ends = word.trim_end_matches(['"', '\'', ')', '”']).ends_with(['.', '!', '?']);
        if ends && words.len() >= SENTENCE_MIN_WORDS {
            sentences.push(words.join(" "));
            words.clear();
        }
    }
    if words.len() >= SENTENCE_MIN_WORDS {
        sentences.push(words.join(" "));
    }
    sentences
}
