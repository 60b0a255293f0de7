// What is used here of htmx, which base.html loads before any module runs.

declare const htmx: {
  trigger(element: Element, name: string): void;
};

interface HtmxSwap extends Event {
  detail: { shouldSwap: boolean; serverResponse: string; target: Element; requestConfig?: { elt: Element; verb: string; triggeringEvent?: Event } };
}

interface HtmxRequest extends Event {
  detail: { elt: Element; requestConfig?: { triggeringEvent?: Event } }; // without one: it asks by its clock
}

interface HtmxFailure extends Event {
  detail: { elt: Element; xhr?: XMLHttpRequest };
}
