//! Enums whose variants have stable names: in the database, on the wire, in metrics and flags.

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a known name")]
pub struct UnknownName;

/// Declares an enum with a stable name for each variant, so that no list can miss a variant.
///
/// Generates `ALL`, `as_str`, `Display` and `FromStr`.
macro_rules! stable_names {
    (
        $(#[$meta:meta])*
        pub enum $Enum:ident { $($(#[$variant_meta:meta])* $Variant:ident = $name:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $Enum { $($(#[$variant_meta])* $Variant,)+ }

        impl $Enum {
            pub const ALL: &'static [Self] = &[$(Self::$Variant,)+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => $name,)+ }
            }
        }

        impl std::fmt::Display for $Enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $Enum {
            type Err = $crate::names::UnknownName;

            fn from_str(name: &str) -> Result<Self, Self::Err> {
                match name {
                    $($name => Ok(Self::$Variant),)+
                    _ => Err($crate::names::UnknownName),
                }
            }
        }
    };
}

pub(crate) use stable_names;

#[cfg(test)]
mod tests {
    use super::*;

    stable_names! {
        pub enum Colour {
            Red = "red",
            DarkBlue = "dark-blue",
        }
    }

    #[test]
    fn every_variant_is_parsed_back_from_its_name() {
        for colour in Colour::ALL {
            assert_eq!(colour.to_string().parse(), Ok(*colour));
        }
        assert_eq!("green".parse::<Colour>(), Err(UnknownName));
    }
}
