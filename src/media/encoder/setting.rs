//! Properties that are set by name and text, since names and values change from version to version and
//! from device to device, and an element that lacks one is no reason to panic.

use gst::glib;
use gst::prelude::*;

use super::super::error::Error;

/// What a property of an element is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The names that it has had; the element's is the first that it knows.
    names: &'static [&'static str],
    /// The first that the property takes.
    values: Vec<String>,
    /// Without it, the encoder is not what the stream needs.
    needed: bool,
}

/// A property without which the encoder is of no use.
pub(super) fn must(names: &'static [&'static str], value: impl ToString) -> Setting {
    Setting { names, values: vec![value.to_string()], needed: true }
}

/// A property that some versions or devices do not have.
pub(super) fn may(names: &'static [&'static str], value: impl ToString) -> Setting {
    Setting { names, values: vec![value.to_string()], needed: false }
}

impl Setting {
    /// Another spelling of the value, where the first is not known.
    pub(super) fn or(mut self, value: &str) -> Setting {
        self.values.push(value.to_owned());
        self
    }

    /// Sets the property.
    ///
    /// # Errors
    /// When the element lacks a property that is needed, or takes none of its values.
    pub(super) fn apply(&self, element: &gst::Element, of: &'static str) -> Result<(), Error> {
        let settable = |name: &&str| {
            element.find_property(name).filter(|spec| spec.flags().contains(glib::ParamFlags::WRITABLE))
        };
        let Some(spec) = self.names.iter().find_map(settable) else {
            return self.refused(of, format!("it has no property {}", self.names.join(" or ")));
        };
        let value = self.values.iter().find_map(|text| read(text, &spec));
        let Some(value) = value else {
            let values = self.values.join(" nor ");
            return self.refused(of, format!("its property {} takes no {values} here", spec.name()));
        };
        element.set_property_from_value(spec.name(), &value);
        Ok(())
    }

    fn refused(&self, of: &'static str, reason: String) -> Result<(), Error> {
        if self.needed {
            return Err(Error::Unavailable { what: of.to_owned(), reason });
        }
        log::debug!(element = of; "setting left out: {reason}");
        Ok(())
    }
}

/// A value of the property, where the text is one within its range.
fn read(text: &str, spec: &glib::ParamSpec) -> Option<glib::Value> {
    let value = glib::Value::deserialize_with_pspec(text, spec).ok()?;
    let within = if let Some(spec) = spec.downcast_ref::<glib::ParamSpecUInt>() {
        (spec.minimum()..=spec.maximum()).contains(&value.get::<u32>().ok()?)
    } else if let Some(spec) = spec.downcast_ref::<glib::ParamSpecInt>() {
        (spec.minimum()..=spec.maximum()).contains(&value.get::<i32>().ok()?)
    } else {
        true
    };
    within.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_and_value_that_are_known_are_taken() {
        gst::init().unwrap();
        let element = gst::ElementFactory::make("x264enc").build().unwrap();
        must(&["pace", "speed-preset"], "swift").or("veryfast").apply(&element, "x264enc").unwrap();
        let spec = element.find_property("speed-preset").unwrap();
        let is = element.property_value("speed-preset");
        assert_eq!(is.serialize().unwrap(), "veryfast", "{}", spec.name());
        may(&["no-such"], 1).apply(&element, "x264enc").unwrap();
        let error = must(&["no-such"], 1).apply(&element, "x264enc").unwrap_err();
        assert_eq!(error.to_string(), "x264enc is not available: it has no property no-such");
        let error = must(&["pass"], "best").apply(&element, "x264enc").unwrap_err();
        assert_eq!(error.to_string(), "x264enc is not available: its property pass takes no best here");
        let error = must(&["key-int-max"], 3_000_000_000_u32).apply(&element, "x264enc").unwrap_err();
        assert!(error.to_string().contains("key-int-max takes no 3000000000"), "{error}");
    }
}
