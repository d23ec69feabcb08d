//! Values as bytes, for temporary files. They are shorter than JSON, and ten times as fast to read. The same
//! values are the same bytes.

use crate::{
    Detached, Fields, Millis, OverallSummary, RequestLine, Timestamp,
    model::numbers::{Member, Table},
};

/// Bytes that have not been read yet. Each method takes a value off them, and returns `None` if there is
/// none.
pub(crate) struct Packed<'a>(&'a [u8]);

impl<'a> Packed<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    #[inline]
    pub(crate) fn number(&mut self) -> Option<u64> {
        match self.0 {
            // Fast path: whether a value is there is most of all numbers.
            [byte @ ..0x80, rest @ ..] => {
                self.0 = rest;
                Some((*byte).into())
            }
            _ => self.long_number(),
        }
    }

    fn long_number(&mut self) -> Option<u64> {
        let mut number = 0;
        for (at, byte) in self.0.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                self.0 = self.0.get(at + 1..)?;
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn time(&mut self) -> Option<Millis> {
        self.number().map(Millis::from_nanos)
    }

    pub(crate) fn decimal(&mut self) -> Option<f64> {
        self.number().map(f64::from_bits)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        let length = self.number()?.try_into().ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        str::from_utf8(text).ok()
    }

    fn owned(&mut self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    #[inline]
    pub(crate) fn or_null<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        let (is_there, rest) = self.0.split_first()?;
        self.0 = rest;
        if *is_there == 0 { Some(None) } else { read(self).map(Some) }
    }

    pub(super) fn list<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        match self.number()? {
            0 => Some(Vec::new()),
            length => (0..length).map(|_| read(self)).collect(),
        }
    }

    pub(crate) fn fields(&mut self) -> Option<Fields> {
        match self.text()? {
            "" => Some(Fields::default()),
            json => serde_json::from_str(json).ok(),
        }
    }

    /// Reads a line with one row in place of another one. Its request's id is not among the bytes.
    pub(super) fn detached<Row: Table>(&mut self, line: &mut Detached<Row>) -> Option<()> {
        let Detached { schema, timestamp, request_id, sample_rate, row, trace_id, span_id, warnings } = line;
        *schema = self.number()?.try_into().ok()?;
        *timestamp = self.number().map(Timestamp::from_unix_micros)?;
        *request_id = None;
        *sample_rate = self.or_null(|packed| packed.number()?.try_into().ok())?;
        row.unpack(self)?;
        *trace_id = self.or_null(Self::owned)?;
        *span_id = self.or_null(Self::owned)?;
        *warnings = self.list(Self::owned)?;
        Some(())
    }

    /// Reads a request in place of another one.
    pub(super) fn request(&mut self, line: &mut RequestLine) -> Option<()> {
        let RequestLine {
            schema,
            timestamp,
            request_id,
            sample_rate,
            overall_summary,
            e2e_table,
            stage_table,
            transfer_table,
            trace_id,
            span_id,
            fields,
            warnings,
        } = line;
        *schema = self.number()?.try_into().ok()?;
        *timestamp = self.number().map(Timestamp::from_unix_micros)?;
        self.text()?.clone_into(request_id);
        *sample_rate = self.or_null(|packed| packed.number()?.try_into().ok())?;
        *overall_summary = self.summary()?;
        e2e_table.unpack(self)?;
        self.rows(stage_table)?;
        self.rows(transfer_table)?;
        *trace_id = self.or_null(Self::owned)?;
        *span_id = self.or_null(Self::owned)?;
        *fields = self.fields()?;
        *warnings = self.list(Self::owned)?;
        Some(())
    }

    /// Reads rows in place of others.
    fn rows<Row: Table>(&mut self, rows: &mut Vec<Row>) -> Option<()> {
        // No row is shorter than a byte.
        let length = self.number().and_then(|length| usize::try_from(length).ok())?;
        rows.resize_with(Some(length).filter(|length| *length <= self.0.len())?, Row::default);
        rows.iter_mut().try_for_each(|row| row.unpack(self))
    }

    pub(super) fn summary(&mut self) -> Option<OverallSummary> {
        Some(OverallSummary {
            e2e_requests: self.number()?,
            e2e_wall_time_ms: self.time()?,
            e2e_total_tokens: self.number()?,
            e2e_avg_time_per_request_ms: self.time()?,
            e2e_avg_tokens_per_s: self.decimal()?,
            stage_wall_time_ms: self.list(Self::time)?,
        })
    }
}

/// Seven bits a byte, the lowest first.
pub(crate) fn number(out: &mut Vec<u8>, number: &u64) {
    let mut rest = *number;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

pub(crate) fn time(out: &mut Vec<u8>, time: &Millis) {
    number(out, &time.as_nanos());
}

pub(crate) fn decimal(out: &mut Vec<u8>, decimal: &f64) {
    number(out, &decimal.to_bits());
}

pub(crate) fn text(out: &mut Vec<u8>, value: &str) {
    number(out, &(value.len() as u64));
    out.extend_from_slice(value.as_bytes());
}

pub(super) fn list<T>(out: &mut Vec<u8>, values: &[T], pack: impl Fn(&mut Vec<u8>, &T)) {
    number(out, &(values.len() as u64));
    values.iter().for_each(|value| pack(out, value));
}

pub(crate) fn fields(out: &mut Vec<u8>, fields: &Fields) {
    let json = if fields.is_empty() { None } else { serde_json::to_string(fields).ok() };
    text(out, &json.unwrap_or_default());
}

/// A line with one row, without the id of its request.
pub(super) fn detached<Row: Table>(out: &mut Vec<u8>, line: &Detached<Row>) {
    number(out, &line.schema.into());
    number(out, &line.timestamp.unix_micros());
    line.sample_rate.map(u64::from).pack(out);
    line.row.pack(out);
    line.trace_id.pack(out);
    line.span_id.pack(out);
    list(out, &line.warnings, |out, warning| text(out, warning));
}

/// A request.
pub(super) fn request(out: &mut Vec<u8>, line: &RequestLine) {
    number(out, &line.schema.into());
    number(out, &line.timestamp.unix_micros());
    text(out, &line.request_id);
    line.sample_rate.map(u64::from).pack(out);
    summary(out, &line.overall_summary);
    line.e2e_table.pack(out);
    list(out, &line.stage_table, |out, row| row.pack(out));
    list(out, &line.transfer_table, |out, row| row.pack(out));
    line.trace_id.pack(out);
    line.span_id.pack(out);
    fields(out, &line.fields);
    list(out, &line.warnings, |out, warning| text(out, warning));
}

pub(super) fn summary(out: &mut Vec<u8>, summary: &OverallSummary) {
    number(out, &summary.e2e_requests);
    time(out, &summary.e2e_wall_time_ms);
    number(out, &summary.e2e_total_tokens);
    time(out, &summary.e2e_avg_time_per_request_ms);
    decimal(out, &summary.e2e_avg_tokens_per_s);
    list(out, &summary.stage_wall_time_ms, time);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SCHEMA, StageRow, TransferRow, model::numbers::tests::full};

    fn packed<Row: Table>(line: &Detached<Row>) -> Vec<u8> {
        let mut bytes = Vec::new();
        detached(&mut bytes, line);
        bytes
    }

    /// What is read in place of a line.
    fn unpacked<Row: Table>(bytes: &[u8], mut line: Detached<Row>) -> Option<Detached<Row>> {
        Packed::of(bytes).detached(&mut line)?;
        Some(line)
    }

    fn detached_row<Row: Table>(row: Row) -> Detached<Row> {
        Detached {
            schema: SCHEMA,
            timestamp: Timestamp::from_unix_micros(u64::MAX >> 8),
            sample_rate: Some(u32::MAX),
            row,
            trace_id: Some("4bf9".to_owned()),
            span_id: Some(String::new()),
            warnings: vec!["one".to_owned(), "två".to_owned()],
            ..Detached::default()
        }
    }

    #[test]
    fn rows_with_all_numbers_and_with_none_are_read_as_they_were_packed() {
        let mut stage = detached_row(full::<StageRow>());
        stage.row.fields = serde_json::from_str(r#"{"b":1.5,"a":"é","c":-1}"#).unwrap();
        let transfer = detached_row(full::<TransferRow>());
        let empty = Detached::<StageRow>::default();
        assert_eq!(unpacked(&packed(&stage), empty.clone()), Some(stage.clone()));
        assert_eq!(unpacked(&packed(&transfer), Detached::default()), Some(transfer));
        assert_eq!(unpacked(&packed(&empty), stage), Some(empty));
    }

    #[test]
    fn requests_with_all_numbers_and_with_none_are_read_as_they_were_packed() {
        let full = RequestLine {
            schema: SCHEMA,
            timestamp: Timestamp::from_unix_micros(1),
            request_id: "r\u{e9}q".to_owned(),
            sample_rate: Some(8),
            overall_summary: OverallSummary { e2e_requests: 3, ..OverallSummary::default() },
            e2e_table: full(),
            stage_table: vec![full(), StageRow::default()],
            transfer_table: vec![full::<TransferRow>(); 3],
            trace_id: Some("4bf9".to_owned()),
            span_id: Some(String::new()),
            fields: serde_json::from_str(r#"{"model":"x"}"#).unwrap(),
            warnings: vec!["one".to_owned()],
        };
        let empty = RequestLine::default();
        for (line, mut before) in [(&full, empty.clone()), (&empty, full.clone())] {
            let mut bytes = Vec::new();
            request(&mut bytes, line);
            assert_eq!(Packed::of(&bytes).request(&mut before), Some(()));
            assert_eq!(&before, line);
            for length in 0..bytes.len() {
                assert_eq!(Packed::of(&bytes[..length]).request(&mut before), None, "{length}");
            }
        }
    }

    #[test]
    fn totals_are_read_as_they_were_packed() {
        let totals = OverallSummary {
            e2e_requests: u64::MAX,
            e2e_wall_time_ms: Millis::from_nanos(1 << 63),
            e2e_total_tokens: 127,
            e2e_avg_time_per_request_ms: Millis::from_nanos(128),
            e2e_avg_tokens_per_s: 0.1,
            stage_wall_time_ms: vec![Millis::ZERO, Millis::MAX],
        };
        let mut bytes = Vec::new();
        summary(&mut bytes, &totals);
        assert_eq!(Packed::of(&bytes).summary(), Some(totals));
    }

    #[test]
    fn bytes_that_are_cut_are_refused() {
        let bytes = packed(&detached_row(full::<StageRow>()));
        for length in 0..bytes.len() {
            assert_eq!(unpacked::<StageRow>(&bytes[..length], Detached::default()), None, "{length}");
        }
    }
}
