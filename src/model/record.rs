//! Structs as JSON objects, read and written through serde without its derive macros. Those are five crates
//! more, and more than a quarter of the processor time of a first build.

use std::{borrow::Cow, fmt, marker::PhantomData, vec};

use serde_core::{
    Deserialize, Deserializer, Serializer,
    de::{DeserializeSeed, Error, IgnoredAny, IntoDeserializer, MapAccess, Visitor},
    forward_to_deserialize_any,
    ser::SerializeMap,
};

use crate::model::buffered::{Buffered, Text};

/// A struct that is a JSON object, or that gives its members to one. [`record!`] implements it.
pub(crate) trait Record: Sized {
    /// How many members it has.
    fn members(&self) -> usize;

    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;

    /// Reads an object. A key that the record does not know is shown to `others`, which returns whether it
    /// has read the value; otherwise the value is ignored.
    fn read<'de, A: MapAccess<'de>>(
        map: A,
        others: impl FnMut(&str, &mut A) -> Result<bool, A::Error>,
    ) -> Result<Self, A::Error>;
}

/// No members: what a record without a flattened one has besides its own. It reads to the end of the object.
impl Record for () {
    fn members(&self) -> usize {
        0
    }

    fn write<M: SerializeMap>(&self, _: &mut M) -> Result<(), M::Error> {
        Ok(())
    }

    #[inline]
    fn read<'de, A: MapAccess<'de>>(
        mut map: A,
        mut others: impl FnMut(&str, &mut A) -> Result<bool, A::Error>,
    ) -> Result<Self, A::Error> {
        while let Some(key) = map.next_key_seed(Text)? {
            if !others(&key, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Implements [`Record`]. It lists the fields in the order of the members, each with when it is written, a
/// function of [`is_written`]. A field that is missing in an object is `None` if it is an option, what stands
/// after `or`, or an error. After `..` stands a field that is a record itself, whose members are among those
/// of this one. A field that is not listed does not compile.
macro_rules! record {
    (
        $Record:ident $(<$T:ident: $Bound:ident $(+ $More:ident)*>)?:
        $($name:ident: $is_written:ident $(or $default:expr)?,)*
        $(..$inner:ident: $Inner:ty, $($later:ident: $is_later_written:ident $(or $later_default:expr)?,)*)?
    ) => {
        impl $(<$T: $Bound $(+ $More)*>)? $crate::model::record::Record for $Record $(<$T>)? {
            fn members(&self) -> usize {
                use $crate::model::record::is_written;
                let Self { $($name,)* $($inner, $($later,)*)? } = self;
                [$(is_written::$is_written($name),)* $($(is_written::$is_later_written($later),)*)?]
                    .into_iter()
                    .map(usize::from)
                    .sum::<usize>()
                    $(+ $inner.members())?
            }

            fn write<M: serde_core::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                use $crate::model::record::is_written;
                let Self { $($name,)* $($inner, $($later,)*)? } = self;
                $(if is_written::$is_written($name) {
                    map.serialize_entry(stringify!($name), $name)?;
                })*
                $(
                    $inner.write(map)?;
                    $(if is_written::$is_later_written($later) {
                        map.serialize_entry(stringify!($later), $later)?;
                    })*
                )?
                Ok(())
            }

            fn read<'de, A: serde_core::de::MapAccess<'de>>(
                map: A,
                mut others: impl FnMut(&str, &mut A) -> Result<bool, A::Error>,
            ) -> Result<Self, A::Error> {
                use $crate::model::record::{self, once, or_missing};
                $(let mut $name = None;)*
                $($(let mut $later = None;)*)?
                let read = |key: &str, map: &mut A| {
                    match key {
                        $(stringify!($name) => once(&mut $name, stringify!($name), map)?,)*
                        $($(stringify!($later) => once(&mut $later, stringify!($later), map)?,)*)?
                        _ => return others(key, map),
                    }
                    Ok(true)
                };
                $(let $inner =)? <record!(@inner $($Inner)?) as record::Record>::read(map, read)?;
                Ok(Self {
                    $($name: or_missing($name $(.or_else(|| Some($default)))?, stringify!($name))?,)*
                    $(
                        $inner,
                        $($later: or_missing(
                            $later $(.or_else(|| Some($later_default)))?,
                            stringify!($later),
                        )?,)*
                    )?
                })
            }
        }
    };
    (@inner) => { () };
    (@inner $Inner:ty) => { $Inner };
}

/// Implements serde's traits for records.
macro_rules! object {
    ($($Record:ty),*) => {$(
        impl serde_core::Serialize for $Record {
            fn serialize<S: serde_core::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::model::record::serialize(None, self, serializer)
            }
        }

        impl<'de> serde_core::Deserialize<'de> for $Record {
            fn deserialize<D: serde_core::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::model::record::deserialize(deserializer)
            }
        }
    )*};
}

pub(crate) use {object, record};

/// When a field is a member of the object.
pub(crate) mod is_written {
    pub(crate) fn always<T>(_: &T) -> bool {
        true
    }

    pub(crate) fn if_some<T>(field: &Option<T>) -> bool {
        field.is_some()
    }

    /// For lists and maps, which are empty by default.
    pub(crate) fn unless_empty<T: Default + PartialEq>(field: &T) -> bool {
        *field != T::default()
    }
}

/// Writes a record, after its `type` if it has one.
pub(crate) fn serialize<R: Record, S: Serializer>(
    tag: Option<&str>,
    record: &R,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(record.members() + usize::from(tag.is_some())))?;
    if let Some(tag) = tag {
        map.serialize_entry("type", tag)?;
    }
    record.write(&mut map)?;
    map.end()
}

pub(crate) fn deserialize<'de, R: Record, D: Deserializer<'de>>(deserializer: D) -> Result<R, D::Error> {
    struct Members<R>(PhantomData<R>);

    impl<'de, R: Record> Visitor<'de> for Members<R> {
        type Value = R;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<R, A::Error> {
            R::read(map, |_, _| Ok(false))
        }
    }

    deserializer.deserialize_map(Members(PhantomData))
}

/// Reads the value of a field, which may be there once.
#[inline]
pub(crate) fn once<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    field: &mut Option<T>,
    name: &'static str,
    map: &mut A,
) -> Result<(), A::Error> {
    if field.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    *field = Some(map.next_value()?);
    Ok(())
}

/// The value that was read, or else that of a missing field: `None` if it is an option.
#[inline]
pub(crate) fn or_missing<'de, T: Deserialize<'de>, E: Error>(
    value: Option<T>,
    name: &'static str,
) -> Result<T, E> {
    value.map_or_else(|| T::deserialize(Missing(name, PhantomData)), Ok)
}

/// The deserializer of a field that is not there: it gives `None` to an option, and an error to all else.
struct Missing<E>(&'static str, PhantomData<E>);

impl<'de, E: Error> Deserializer<'de> for Missing<E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, E> {
        Err(E::missing_field(self.0))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_none()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The members of an object with a `type`, but for that one: those before it, which had to be kept until it
/// was known how to read them, and those after it.
pub(crate) struct Tagged<'de, A> {
    before: vec::IntoIter<(Cow<'de, str>, Buffered<'de>)>,
    value: Option<Buffered<'de>>,
    after: A,
}

impl<'de, A: MapAccess<'de>> Tagged<'de, A> {
    /// Reads up to the `type`, and returns it.
    pub(crate) fn new(mut map: A) -> Result<(Cow<'de, str>, Self), A::Error> {
        let mut before = Vec::new();
        while let Some(key) = map.next_key_seed(Text)? {
            if key == "type" {
                let tag = map.next_value_seed(Text)?;
                return Ok((tag, Self { before: before.into_iter(), value: None, after: map }));
            }
            before.push((key, map.next_value()?));
        }
        Err(A::Error::missing_field("type"))
    }

    pub(crate) fn read<R: Record>(self) -> Result<R, A::Error> {
        R::read(self, |key, _| if key == "type" { Err(A::Error::duplicate_field("type")) } else { Ok(false) })
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Tagged<'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some((key, value)) = self.before.next() else { return self.after.next_key_seed(seed) };
        self.value = Some(value);
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        match self.value.take() {
            Some(value) => seed.deserialize(value.into_deserializer()),
            None => self.after.next_value_seed(seed),
        }
    }
}

#[cfg(test)]
mod tests;
