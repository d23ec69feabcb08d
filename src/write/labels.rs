//! The labels that exported metrics take from the fields of their request.

use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError, RwLock},
};

use metrics::Label;
use smallvec::SmallVec;

use crate::{FieldValue, Fields};

/// How many values a label has; further ones are `other`.
const VALUES: usize = 64;

/// What no field can name: labels that families have anyway, and those that Prometheus adds to histograms.
const TAKEN: [&str; 6] = ["finish_reason", "stage", "from_stage", "to_stage", "le", "quantile"];

/// One value of each label.
pub(crate) type Combination = SmallVec<[Place; 4]>;

/// The place of a value among those of its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    At(u8),
    /// It has none, since the label had enough values already.
    Other,
    Absent,
}

/// The fields that are to be labels. They are taken when the first request is created.
#[derive(Debug, Default)]
pub(crate) struct Named(Mutex<Vec<&'static str>>);

impl Named {
    pub(crate) fn set(&self, fields: impl IntoIterator<Item = &'static str>) {
        let mut names = Vec::new();
        for name in fields {
            if !TAKEN.contains(&name) && !names.contains(&name) {
                names.push(name);
            }
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    pub(crate) fn labels(&self) -> Labels {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Labels(names.into_iter().map(|name| Values { name, known: RwLock::default() }).collect())
    }
}

/// The labels of a layer, with the values that each has had so far.
#[derive(Debug)]
pub(crate) struct Labels(Vec<Values>);

impl Labels {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values that a request with these fields has.
    pub(crate) fn of(&self, fields: &Fields) -> Combination {
        self.0.iter().map(|values| values.place(fields)).collect()
    }

    /// What stands for no request.
    pub(crate) fn absent(&self) -> Combination {
        self.0.iter().map(|_| Place::Absent).collect()
    }

    /// The labels of a combination; `None` is what the combinations past the limit share.
    pub(crate) fn named(&self, combination: Option<&Combination>) -> Vec<Label> {
        let place =
            |at: usize| combination.and_then(|places| places.get(at)).copied().unwrap_or(Place::Other);
        self.0.iter().enumerate().map(|(at, values)| values.label(place(at))).collect()
    }
}

/// One label.
#[derive(Debug)]
struct Values {
    name: &'static str,
    /// The first values that came.
    known: RwLock<Vec<Box<str>>>,
}

impl Values {
    fn place(&self, fields: &Fields) -> Place {
        let text = match fields.get(self.name) {
            None => return Place::Absent,
            Some(FieldValue::Text(text)) => Cow::Borrowed(&**text),
            Some(value) => Cow::Owned(value.to_string()),
        };
        // An empty label is an absent one to Prometheus.
        if text.is_empty() {
            return Place::Absent;
        }
        let find = |known: &[Box<str>]| known.iter().position(|value| **value == *text);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = find(&known);
        if found.is_none() && known.len() < VALUES {
            drop(known);
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            // Another thread may have added it, or the last one, meanwhile.
            found = find(&known).or_else(|| {
                (known.len() < VALUES).then(|| {
                    known.push(text.into());
                    known.len() - 1
                })
            });
        }
        found.and_then(|at| u8::try_from(at).ok()).map_or(Place::Other, Place::At)
    }

    fn label(&self, place: Place) -> Label {
        let at = match place {
            Place::At(at) => usize::from(at),
            Place::Other => return Label::from_static_parts(self.name, "other"),
            Place::Absent => return Label::from_static_parts(self.name, "none"),
        };
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        Label::new(self.name, known.get(at).map_or(String::new(), |value| value.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use super::*;

    fn fields(value: u64) -> Fields {
        Fields::from([(Cow::Borrowed("model"), FieldValue::Unsigned(value))])
    }

    #[test]
    fn a_label_has_64_values_however_many_threads_bring_them() {
        let named = Named::default();
        named.set(["model"]);
        let labels = named.labels();
        thread::scope(|scope| {
            for thread in 0..4 {
                let labels = &labels;
                scope
                    .spawn(move || (0..100).for_each(|value| drop(labels.of(&fields(value * (thread + 1))))));
            }
        });
        let places: HashSet<_> = (0..400).map(|value| labels.of(&fields(value))).collect();
        assert_eq!(places.len(), VALUES + 1);
        for value in 0..400 {
            let combination = labels.of(&fields(value));
            let shown = if *combination == [Place::Other] { "other".to_owned() } else { value.to_string() };
            assert_eq!(labels.named(Some(&combination)), [Label::new("model", shown)]);
        }
    }
}
