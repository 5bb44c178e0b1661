//! Deserializes values that can have one of several types, such as a string or an array.

/// Implements `Deserialize` for a type by the TOML type of a value. Each type that is accepted (`text`, `flag`, `number`,
/// `list` or `table`) has a function that gets the deserialized value.
// serde's `untagged` enums lose the locations of values, and the reasons why none of the variants matches.
macro_rules! by_type {
    (@text $make:expr) => {
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            serde::Deserialize::deserialize(serde::de::value::StrDeserializer::new(text)).map($make)
        }
    };
    (@flag $make:expr) => {
        fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<Self::Value, E> {
            serde::Deserialize::deserialize(serde::de::value::BoolDeserializer::new(flag)).map($make)
        }
    };
    (@number $make:expr) => {
        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Self::Value, E> {
            serde::Deserialize::deserialize(serde::de::value::I64Deserializer::new(number)).map($make)
        }
    };
    (@list $make:expr) => {
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
            serde::Deserialize::deserialize(serde::de::value::SeqAccessDeserializer::new(list)).map($make)
        }
    };
    (@table $make:expr) => {
        fn visit_map<A: serde::de::MapAccess<'de>>(self, table: A) -> Result<Self::Value, A::Error> {
            serde::Deserialize::deserialize(serde::de::value::MapAccessDeserializer::new(table)).map($make)
        }
    };
    ($entry:ident, $expected:literal, { $($kind:ident: $make:expr),+ $(,)? }) => {
        impl<'de> serde::Deserialize<'de> for $entry {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct EntryVisitor;
                impl<'de> serde::de::Visitor<'de> for EntryVisitor {
                    type Value = $entry;

                    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        formatter.write_str($expected)
                    }
                    $(by_type!(@$kind $make);)+
                }
                deserializer.deserialize_any(EntryVisitor)
            }
        }
    };
}
pub(super) use by_type;
