//! The further fields of a row.

use std::borrow::Cow;

use crate::{
    FieldValue, Fields,
    model::{kind::Kind, warnings::Warnings},
};

/// How many further fields a row keeps.
pub(crate) const FURTHER_LIMIT: usize = 32;

/// The name under which the numbers of a `sum.NAME` field are added up.
pub(crate) fn name_of_sum(field: &str) -> Option<&str> {
    field.strip_prefix("sum.").filter(|name| !name.is_empty())
}

/// Adds the further fields of a span to those of a row. The last value of a field stands; numbers of
/// `sum.NAME` fields are added up.
pub(crate) fn merge_further(row: &mut Fields, span: Fields, kind: Kind, warnings: &mut Warnings) {
    for (field, value) in span {
        let (Some(name), true) = (name_of_sum(&field), value.is_number()) else {
            keep_further(row, field, value, kind, warnings);
            continue;
        };
        match row.get_mut(name).map(|kept| (kept.to_number(), kept)) {
            None => keep_further(row, name.to_owned().into(), value, kind, warnings),
            Some((Ok(sum), kept)) => *kept = sum.plus(&value),
            Some((Err(_), _)) => {
                let what =
                    format!("`{name}` is there with a value that is no number; added up under its full name");
                warnings.add(kind, &field, &value, what);
                let sum = row.get(&field).and_then(|sum| sum.to_number().ok());
                let sum = sum.map_or(value.clone(), |sum| sum.plus(&value));
                keep_further(row, field, sum, kind, warnings);
            }
        }
    }
}

/// Keeps one further field if there is room.
pub(crate) fn keep_further(
    row: &mut Fields,
    field: Cow<'static, str>,
    value: FieldValue,
    kind: Kind,
    warnings: &mut Warnings,
) {
    if row.len() < FURTHER_LIMIT || row.contains_key(&field) {
        row.insert(field, value);
    } else {
        warnings.add(
            kind,
            &field,
            value,
            format_args!("a row keeps {FURTHER_LIMIT} further fields; dropped"),
        );
    }
}
