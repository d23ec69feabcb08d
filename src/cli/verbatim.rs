//! Requests just as the layer writes them: its keys, in its order. It reads them three times as fast as a
//! reader of any JSON, which takes whatever this one does not.

use crate::{
    Fields, Millis, OverallSummary, RequestLine, Timestamp,
    model::numbers::{Member, Table},
};

/// A number of so many digits fits.
const DIGITS: usize = 15;
/// Up to here, in nanoseconds, the library rounds a decimal to the nanosecond that it says: 26 days.
const EXACT_NANOS: u64 = 1 << 51;

/// The request on a line; `None` if anything is not as the layer writes it, or stands there
/// seldom, like an escape in a text.
pub(super) fn request(line: &str) -> Option<RequestLine> {
    let mut text = Text(line.as_bytes());
    let request = text.request()?;
    text.0.is_empty().then_some(request)
}

/// What is left of a line.
pub(crate) struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn request(&mut self) -> Option<RequestLine> {
        self.literal(r#"{"type":"request","schema":"#)?;
        let schema = self.number()?.try_into().ok()?;
        let timestamp = self.after(r#","timestamp":"#, |text| Timestamp::parse(text.text()?))?;
        let request_id = self.after(r#","request_id":"#, Self::owned)?;
        let overall_summary = self.after(r#","overall_summary":"#, Self::summary)?;
        let e2e_table = self.after(r#","e2e_table":"#, |text| text.row(r#"{"e2e_total_ms":"#))?;
        let stage_table =
            self.after(r#","stage_table":"#, |text| text.list(|text| text.row(r#"{"stage_id":"#)))?;
        let transfer_table =
            self.after(r#","transfer_table":"#, |text| text.list(|text| text.row(r#"{"from_stage":"#)))?;
        let trace_id = self.if_there(r#","trace_id":"#, Self::owned)?;
        let span_id = self.if_there(r#","span_id":"#, Self::owned)?;
        let fields = self.fields()?;
        let warnings = self.if_there(r#","warnings":"#, |text| text.list(Self::owned))?.unwrap_or_default();
        self.literal("}")?;
        Some(RequestLine {
            schema,
            timestamp,
            request_id,
            overall_summary,
            e2e_table,
            stage_table,
            transfer_table,
            trace_id,
            span_id,
            fields,
            warnings,
        })
    }

    fn summary(&mut self) -> Option<OverallSummary> {
        let summary = OverallSummary {
            e2e_requests: self.after(r#"{"e2e_requests":"#, Self::number)?,
            e2e_wall_time_ms: self.after(r#","e2e_wall_time_ms":"#, Self::time)?,
            e2e_total_tokens: self.after(r#","e2e_total_tokens":"#, Self::number)?,
            e2e_avg_time_per_request_ms: self.after(r#","e2e_avg_time_per_request_ms":"#, Self::time)?,
            // As the library reads it, to the last bit.
            e2e_avg_tokens_per_s: self.after(r#","e2e_avg_tokens_per_s":"#, Self::decimal)?,
            stage_wall_time_ms: self.after(r#","stage_wall_time_ms":"#, |text| text.list(Self::time))?,
        };
        self.literal("}")?;
        Some(summary)
    }

    /// A row, up to its end; `first` is its first key.
    #[inline(always)]
    fn row<Row: Table>(&mut self, first: &'static str) -> Option<Row> {
        let row = Row::read(self, first)?;
        self.literal("}")?;
        Some(row)
    }

    /// A member that is always there.
    #[inline(always)]
    pub(crate) fn always<T: Member>(&mut self, key: &str) -> Option<T> {
        self.literal(key)?;
        T::read(self)
    }

    /// A member that may be left out.
    #[inline(always)]
    pub(crate) fn if_some<T: Member + Default>(&mut self, key: &str) -> Option<T> {
        match self.literal(key) {
            Some(()) => T::read(self),
            None => Some(T::default()),
        }
    }

    // Inlined, so that a key is compared as the words it consists of.
    #[inline(always)]
    fn literal(&mut self, literal: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(literal.as_bytes())?;
        Some(())
    }

    #[inline(always)]
    fn after<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        self.literal(key)?;
        read(self)
    }

    /// The value of a key that may be absent; the outer `None` says that it can't be read.
    #[inline(always)]
    fn if_there<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.literal(key) {
            Some(()) => read(self).map(Some),
            None => Some(None),
        }
    }

    #[inline(always)]
    pub(crate) fn or_null<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.literal("null") {
            Some(()) => Some(None),
            None => read(self).map(Some),
        }
    }

    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.literal("[")?;
        let mut list = Vec::new();
        if self.literal("]").is_some() {
            return Some(list);
        }
        loop {
            list.push(read(self)?);
            if self.literal(",").is_none() {
                self.literal("]")?;
                return Some(list);
            }
        }
    }

    fn text(&mut self) -> Option<&str> {
        let inside = self.0.strip_prefix(b"\"")?;
        let end = inside.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
        let (text, rest) = inside.split_at(end);
        self.0 = rest.strip_prefix(b"\"")?;
        str::from_utf8(text).ok()
    }

    pub(crate) fn owned(&mut self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    /// Digits, how many there are, and what they are a number of.
    #[inline]
    fn digits(&mut self) -> Option<(u64, usize)> {
        let mut number = 0;
        let mut length = 0;
        for byte in self.0 {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 || length > DIGITS {
                break;
            }
            number = number * 10 + u64::from(digit);
            length += 1;
        }
        self.0 = self.0.get(length..)?;
        (1..=DIGITS).contains(&length).then_some((number, length))
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let begins_with_zero = self.0.first() == Some(&b'0');
        let (number, length) = self.digits()?;
        (length == 1 || !begins_with_zero).then_some(number)
    }

    /// Milliseconds with one to six decimals, as whole nanoseconds.
    pub(crate) fn time(&mut self) -> Option<Millis> {
        const SCALE: [u64; 7] = [1_000_000, 100_000, 10_000, 1_000, 100, 10, 1];
        let millis = self.number()?;
        self.literal(".")?;
        let (decimals, length) = self.digits()?;
        let nanos = millis.checked_mul(1_000_000)?.checked_add(decimals * SCALE.get(length)?)?;
        (nanos < EXACT_NANOS).then_some(Millis::from_nanos(nanos))
    }

    /// Further fields, which the library reads.
    pub(crate) fn fields(&mut self) -> Option<Fields> {
        let fields = self.if_there(r#","fields":"#, |text| {
            let mut values = serde_json::Deserializer::from_slice(text.0).into_iter();
            let fields = values.next()?.ok()?;
            text.0 = text.0.get(values.byte_offset()..)?;
            Some(fields)
        });
        fields.map(Option::unwrap_or_default)
    }

    fn decimal(&mut self) -> Option<f64> {
        let end = self.0.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'.'))?;
        let (number, rest) = self.0.split_at(end);
        self.0 = rest;
        serde_json::from_slice(number).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use proptest::prelude::*;
    use tracing::{field::Empty, info_span};
    use tracing_subscriber::{layer::SubscriberExt, registry};

    use super::*;
    use crate::{
        Line, OmniMetricsLayer, SCHEMA, model::numbers::tests::full, write::lines::RequestParts,
        write::lines::write_request,
    };

    const LOG: &str = include_str!("../../tests/data/pipeline.jsonl");

    fn library(line: &str) -> Option<RequestLine> {
        match line.parse() {
            Ok(Line::Request(request)) => Some(request),
            _ => None,
        }
    }

    /// What the layer writes of requests with all that can be recorded, and with nothing.
    fn written_by_the_layer() -> String {
        let log = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&log);
        let layer = OmniMetricsLayer::new().with_writer(move || Log(Arc::clone(&writer)));
        tracing::subscriber::with_default(registry().with(layer), || {
            info_span!("request").in_scope(|| ());
            info_span!("request", request_id = "r1", finish_reason = "stop", model = "m", odd = -1).in_scope(
                || {
                    let stage = info_span!(
                        "stage",
                        stage_id = 0,
                        stage_name = "thinker",
                        batch_id = 1,
                        batch_size = 2,
                        num_tokens_in = 3,
                        num_tokens_out = 4,
                        preprocess_time_ms = 0.5,
                        first_output = Empty,
                        further = true,
                    );
                    stage.in_scope(|| stage.record("first_output", true));
                    info_span!("stage").in_scope(|| ());
                    info_span!("stage", stage_id = 1);
                    info_span!("transfer", from_stage = 0, to_stage = 1, size_bytes = 9, phase = "rx")
                        .in_scope(|| ());
                    info_span!("transfer", in_flight_time_ms = 0.25, more = "text").in_scope(|| ());
                },
            );
        });
        String::from_utf8(log.lock().unwrap().clone()).unwrap()
    }

    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Requests whose rows have every number, and none.
    fn written_of_rows() -> String {
        let mut out = Vec::new();
        for (e2e, stage, transfer) in [(full(), full(), full()), Default::default()] {
            let line = RequestLine {
                schema: SCHEMA,
                request_id: "r1".to_owned(),
                e2e_table: e2e,
                trace_id: Some("4bf9".to_owned()),
                span_id: Some("00f0".to_owned()),
                warnings: vec!["one".to_owned(), "två".to_owned()],
                ..RequestLine::default()
            };
            let rows = ([&stage, &stage].into_iter(), [&transfer].into_iter());
            write_request(&mut out, &RequestParts::of(&line), rows.0, rows.1);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_the_layer_writes_is_read_and_reads_the_same() {
        let (by_layer, of_rows) = (written_by_the_layer(), written_of_rows());
        assert_eq!((by_layer.lines().count(), of_rows.lines().count()), (2, 2));
        let log = LOG.lines().filter(|line| line.starts_with(r#"{"type":"request""#));
        for line in log.chain(by_layer.lines()).chain(of_rows.lines()) {
            assert!(request(line).is_some(), "{line}");
            assert_eq!(request(line), library(line));
        }
    }

    #[test]
    fn rare_lines_are_left_to_the_library() {
        let line = LOG.lines().next().unwrap();
        for (from, to) in [
            ("\"schema\":1", "\"schema\": 1"),
            ("\"schema\":1", "\"schema\":01"),
            ("req-0001", "req\\u002d1"),
            ("req-0001", "req\t1"),
            ("\"events\":1,\"fields\":{", "\"fields\":{\"a\":1},\"events\":1,\"fields\":{"),
            ("\"events\":1", "\"events\":1e0"),
            ("\"e2e_requests\":1", "\"e2e_requests\":18446744073709551615"),
            ("\"start_ms\":", "\"start_ms\":1234567890"),
            ("\"start_ms\":0.467079", "\"start_ms\":2251799813.685248"),
        ] {
            let changed = line.replacen(from, to, 1);
            assert!(changed != line && request(&changed).is_none(), "{changed}");
        }
    }

    #[test]
    fn any_time_up_to_the_limit_reads_the_same() {
        let steps = (0..200_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 13);
        for nanos in steps.chain((1..51).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1])) {
            let nanos = Millis::from_nanos(nanos % EXACT_NANOS);
            let text = nanos.to_string();
            assert_eq!(Text(text.as_bytes()).time(), Some(nanos));
            assert_eq!(serde_json::from_str::<Millis>(&text).unwrap(), nanos);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn whatever_it_reads_the_library_reads_the_same(
            line in 0..40_usize,
            at in any::<prop::sample::Index>(),
            removed in 0..3_usize,
            inserted in "[0-9a-z.,:\"\\[\\]{}é -]{0,3}",
        ) {
            let line = LOG.lines().nth(line).unwrap();
            let at = line.floor_char_boundary(at.index(line.len()));
            let end = line.ceil_char_boundary((at + removed).min(line.len()));
            let changed = format!("{}{inserted}{}", &line[..at], &line[end..]);
            if let Some(request) = request(&changed) {
                prop_assert_eq!(Some(request), library(&changed), "{}", changed);
            }
        }
    }
}
