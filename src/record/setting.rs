//! How recorded values are interpreted (docs/numbers.md, section 1).

use crate::{
    FieldValue,
    fold::{
        fields::{Phase, SpanFields},
        further::name_of_sum,
    },
    model::{
        kind::Kind,
        value::{self, TEXT_LIMIT, Unusable},
    },
    record::{
        layout::Meaning,
        visitor::{Kept, PANICKED, REQUEST_ID_LIMIT, Recorded, Take},
    },
};

impl SpanFields {
    /// Sets one value. The last value of a field wins; an unusable value keeps the one before.
    pub(crate) fn set(&mut self, recorded: Recorded, now: u64) {
        let field = recorded.field;
        match recorded.meaning {
            Meaning::Count(place) => self.set_read(place, recorded.number(FieldValue::to_count), &recorded),
            Meaning::Time(place) => self.set_read(place, recorded.number(FieldValue::to_nanos), &recorded),
            Meaning::FirstOutput => self.first_output = self.first_output.or(Some(now)),
            Meaning::Scheduled => {
                self.progress.get_or_insert_default().scheduled.get_or_insert(now);
            }
            Meaning::CachedTokens => match recorded.number(FieldValue::to_count) {
                Ok(count) => self.progress.get_or_insert_default().num_tokens_cached = Some(count),
                Err(why) => self.warn_of_unusable(&recorded, why),
            },
            Meaning::ReasoningTokens => match recorded.number(FieldValue::to_count) {
                Ok(count) => self.progress.get_or_insert_default().num_tokens_reasoning = Some(count),
                Err(why) => self.warn_of_unusable(&recorded, why),
            },
            Meaning::Output => match recorded.number(units) {
                Ok(units) => self.add_output(now, units),
                Err(why) => self.warn_of_unusable(&recorded, why),
            },
            Meaning::Media => match recorded.number(FieldValue::to_nanos) {
                Ok(nanos) => self.add_media(nanos),
                Err(why) => self.warn_of_unusable(&recorded, why),
            },
            Meaning::Ignored => {}
            _ if recorded.kept == Kept::Panicked => {
                self.warn(field, &recorded.value, format_args!("{PANICKED}; treated as not recorded"));
            }
            Meaning::RequestId => self.set_request_id(recorded),
            Meaning::Label => {
                self.warn_if_cut(&recorded);
                self.label = recorded.into_text().or(self.label.take());
            }
            Meaning::Phase => match recorded.into_text().as_deref() {
                Some("tx") => self.phase = Phase::Tx,
                Some("rx") => self.phase = Phase::Rx,
                Some(other) => {
                    self.warn(field, other, "it is neither `tx` nor `rx`; treated as not recorded");
                }
                None => {}
            },
            Meaning::Further => {
                self.warn_if_cut(&recorded);
                self.keep(field, recorded.value);
            }
            Meaning::Summand => match recorded.number(FieldValue::to_number) {
                // A request has one span, so there is nothing to add up.
                Ok(number) if self.kind == Kind::Request => {
                    self.keep(name_of_sum(field).unwrap_or(field), number);
                }
                Ok(number) => self.keep(field, number),
                Err(why) => {
                    self.warn_if_cut(&recorded);
                    self.warn(field, &recorded.value, format_args!("{why}; kept under its full name"));
                    self.keep(field, recorded.value);
                }
            },
        }
    }

    fn set_read(&mut self, place: usize, read: Result<u64, Unusable>, recorded: &Recorded) {
        match read {
            Ok(number) => self.set_number(place, number),
            Err(why) => {
                self.mark_unusable(recorded.field);
                self.warn_of_unusable(recorded, why);
            }
        }
    }

    fn warn_of_unusable(&mut self, recorded: &Recorded, why: Unusable) {
        self.warn(recorded.field, &recorded.value, format_args!("{why}; treated as not recorded"));
    }

    fn set_request_id(&mut self, recorded: Recorded) {
        let Some(id) = recorded.into_text() else { return };
        if id.len() > REQUEST_ID_LIMIT {
            self.warn("request_id", &id, format_args!("it is longer than {REQUEST_ID_LIMIT} bytes; cut"));
            self.request_id = Some(value::prefix(&id, REQUEST_ID_LIMIT).into());
        } else {
            self.request_id = Some(id.into());
        }
    }

    fn warn_if_cut(&mut self, recorded: &Recorded) {
        if recorded.kept == Kept::Cut {
            self.warn(
                recorded.field,
                &recorded.value,
                format_args!("it is longer than {TEXT_LIMIT} bytes; cut"),
            );
        }
    }

    /// Warns of a field whose name is most likely a misspelt documented name.
    pub(crate) fn warn_of_near_miss(&mut self, field: &str, meant: &str) {
        let value = self.further.get(field).map_or("none yet".into(), |value| value.to_string());
        let what = format!("not a documented field; did you mean `{meant}`? It is kept under `fields`");
        self.warn(field, value, what);
    }
}

/// The number of units in an output; `true` is one.
fn units(value: &FieldValue) -> Result<u64, Unusable> {
    match value {
        FieldValue::Bool(true) => Ok(1),
        FieldValue::Text(text) if value::plain(text) == "true" => Ok(1),
        value => value.to_count(),
    }
}

/// Takes the values of a new span, to which no other thread has access yet, so no lock is needed.
pub(crate) struct Filling<'a> {
    pub(crate) fields: &'a mut SpanFields,
    pub(crate) now: u64,
}

impl Take for Filling<'_> {
    fn release(&mut self) {}

    #[inline]
    fn number(&mut self, place: usize, number: u64) {
        self.fields.set_number(place, number);
    }

    fn output(&mut self, units: u64) {
        self.fields.add_output(self.now, units);
    }

    fn media(&mut self, nanos: u64) {
        self.fields.add_media(nanos);
    }

    fn label(&mut self, text: &str) {
        self.fields.label = Some(text.to_owned());
    }

    fn request_id(&mut self, id: &str) {
        self.fields.request_id = Some(id.into());
    }

    fn value(&mut self, recorded: Recorded) {
        self.fields.set(recorded, self.now);
    }
}
