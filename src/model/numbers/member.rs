//! A field of a row: its value, and how it is read and written.

#[cfg(feature = "cli")]
use crate::cli::{Packed, Text, packed};
use crate::{Millis, model::rows::Value};

/// A field of a row.
pub(crate) trait Member: Sized {
    fn value(&self) -> Option<Value<'_>>;

    /// Reads a value over this one, whose memory is used again.
    #[cfg(feature = "cli")]
    fn read(&mut self, text: &mut Text<'_>) -> Option<()>;

    #[cfg(feature = "cli")]
    fn pack(&self, out: &mut Vec<u8>);

    #[cfg(feature = "cli")]
    fn unpack(packed: &mut Packed<'_>) -> Option<Self>;
}

/// Implements [`Member`] for a type, and for its option.
macro_rules! member {
    ($Type:ty, $member:ident => $value:expr, $read:ident) => {
        impl Member for $Type {
            #[inline(always)]
            fn value(&self) -> Option<Value<'_>> {
                let $member = self;
                Some($value)
            }

            #[cfg(feature = "cli")]
            #[inline(always)]
            fn read(&mut self, text: &mut Text<'_>) -> Option<()> {
                text.$read()?.clone_into(self);
                Some(())
            }

            #[cfg(feature = "cli")]
            #[inline]
            fn pack(&self, out: &mut Vec<u8>) {
                packed::$read(out, self);
            }

            #[cfg(feature = "cli")]
            #[inline]
            fn unpack(packed: &mut Packed<'_>) -> Option<Self> {
                packed.$read().map(|value| value.to_owned())
            }
        }

        impl Member for Option<$Type> {
            #[inline(always)]
            fn value(&self) -> Option<Value<'_>> {
                self.as_ref().map(|$member| $value)
            }

            #[cfg(feature = "cli")]
            #[inline(always)]
            fn read(&mut self, text: &mut Text<'_>) -> Option<()> {
                if text.literal("null").is_some() {
                    *self = None;
                    return Some(());
                }
                self.get_or_insert_default().read(text)
            }

            #[cfg(feature = "cli")]
            #[inline]
            fn pack(&self, out: &mut Vec<u8>) {
                out.push(self.is_some().into());
                self.iter().for_each(|value| value.pack(out));
            }

            #[cfg(feature = "cli")]
            #[inline]
            fn unpack(packed: &mut Packed<'_>) -> Option<Self> {
                packed.or_null(Member::unpack)
            }
        }
    };
}

member!(u64, count => Value::Count(*count), number);
member!(Millis, time => Value::Time(*time), time);
member!(f64, ratio => Value::Ratio(*ratio), decimal);
member!(String, text => Value::Text(text), text);
