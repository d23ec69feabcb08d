//! Which callback of `tracing` goes where.

use std::any::TypeId;

use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

use crate::{OmniMetricsLayer, write::otel::Otel};

/// [`Filtered`](tracing_subscriber::filter::Filtered) answers for callsites, and clears the answers that its
/// filter leaves on a thread. It does not decide which spans and events the recorder gets, since an answer on
/// a thread may be one for an earlier callsite (tracing#2519): their metadata decides. So `tracing` need not
/// ask all filters anew for each span, which took 2 % of a request's time.
impl<S> Layer<S> for OmniMetricsLayer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        self.filtered.on_register_dispatch(subscriber);
        self.recorder.otel.connect(subscriber);
    }

    fn on_layer(&mut self, subscriber: &mut S) {
        self.filtered.on_layer(subscriber);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.filtered.register_callsite(metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, ctx: Context<'_, S>) -> bool {
        self.filtered.enabled(metadata, ctx)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.filtered.max_level_hint()
    }

    fn event_enabled(&self, event: &Event<'_>, ctx: Context<'_, S>) -> bool {
        self.filtered.event_enabled(event, ctx)
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        self.filtered.on_event(event, ctx.clone());
        if self.filtered.filter().sees_event(event.metadata()) {
            self.recorder.add_error(event, &ctx);
        }
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        self.filtered.on_new_span(attributes, id, ctx.clone());
        if self.filtered.filter().sees(attributes.metadata()) {
            self.recorder.new_span(attributes, id, &ctx);
        }
    }

    fn on_id_change(&self, old: &Id, new: &Id, ctx: Context<'_, S>) {
        self.filtered.on_id_change(old, new, ctx);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        self.recorder.record(id, values);
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, ctx: Context<'_, S>) {
        self.recorder.follow(id, follows, &ctx);
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        self.recorder.enter(id);
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        self.recorder.exit(id);
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.recorder.close(&id);
    }

    #[allow(unsafe_code, reason = "the hook by which a registry finds the filter inside of this layer")]
    unsafe fn downcast_raw(&self, id: TypeId) -> Option<*const ()> {
        if id == TypeId::of::<Self>() {
            return Some(std::ptr::from_ref(self).cast());
        }
        if id == TypeId::of::<Otel>() {
            return Some(std::ptr::from_ref(&self.recorder.otel).cast());
        }
        // SAFETY: a pointer that `Filtered` returns points into `self.filtered` and has the type that `id`
        // names. `self` owns `self.filtered`, so the pointer is valid as long as `self`, as this method must
        // ensure.
        unsafe { self.filtered.downcast_raw(id) }
    }
}
