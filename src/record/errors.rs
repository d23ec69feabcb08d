//! `ERROR` events inside a request, those of foreign code included.

use std::{error::Error, fmt};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{layer::Context, registry::LookupSpan};

use crate::record::{recorder::Recorder, visitor::text_of_user};

impl Recorder {
    /// Adds the event to the requests that the nearest documented span around it belongs to.
    pub(crate) fn add_error<S>(&self, event: &Event<'_>, ctx: &Context<'_, S>)
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let mut around = ctx.event_scope(event).into_iter().flatten();
        let (requests, open) = (&self.shared.requests, &self.shared.open);
        let claims = around.find_map(|span| open.with(&span.id(), |span| requests.claims(span)));
        let Some(claims) = claims else { return };
        let owners = requests.owners_of(claims, open).owners;
        // The user's formatting code runs here, with nothing locked.
        let mut text = Text::default();
        event.record(&mut text);
        let text = text.message.or(text.error);
        for request in owners.iter() {
            let _ = request.add(|rows| rows.add_error(text.clone()));
        }
    }
}

/// The texts of an event.
#[derive(Debug, Default)]
struct Text {
    message: Option<String>,
    error: Option<String>,
}

impl Text {
    fn set(&mut self, field: &Field, value: impl fmt::Display) {
        let text = match field.name() {
            "message" => &mut self.message,
            "error" => &mut self.error,
            _ => return,
        };
        *text = Some(text_of_user(value).0);
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.set(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format_args!("{value:?}"));
    }
}
