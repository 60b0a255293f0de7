// The readable docs of the API: how each operation is called with curl, Python and JavaScript, above its responses.
// The examples are those of the document (x-codeSamples); the language that was chosen is kept for all of them.
"use strict";

const CodeSamples = (system) => {
  const { React } = system;
  const KEPT = "language of the examples";

  const Samples = ({ samples }) => {
    const [chosen, choose] = React.useState(localStorage.getItem(KEPT) || "curl");
    const shown = samples.find((sample) => sample.label === chosen) || samples[0];
    const take = (label) => {
      localStorage.setItem(KEPT, label);
      choose(label);
    };
    const tab = (sample) =>
      React.createElement(
        "button",
        {
          key: sample.label,
          type: "button",
          "aria-pressed": sample === shown,
          onClick: () => take(sample.label),
        },
        sample.label,
      );
    return React.createElement(
      "section",
      { className: "code-samples", "aria-label": "examples" },
      React.createElement("div", { className: "tabs" }, samples.map(tab)),
      React.createElement("pre", { tabIndex: 0 }, shown.source),
    );
  };

  const withSamples = (Responses) => (props) => {
    const found = system.specSelectors.specJson().getIn(["paths", props.path, props.method, "x-codeSamples"]);
    return React.createElement(
      React.Fragment,
      null,
      found ? React.createElement(Samples, { samples: found.toJS() }) : null,
      React.createElement(Responses, props),
    );
  };

  const withHeading = (Operations) => (props) =>
    React.createElement(
      React.Fragment,
      null,
      React.createElement("h2", { className: "unseen" }, "Operations"),
      React.createElement(Operations, props),
    );

  const withName = (InfoContainer) => (props) =>
    React.createElement("section", { "aria-label": "About the API" }, React.createElement(InfoContainer, props));

  // What scrolls is reached by keyboard.
  const reachable = (HighlightCode) => (props) => {
    const place = React.useRef(null);
    React.useEffect(() => place.current.querySelectorAll("pre").forEach((part) => (part.tabIndex = 0)));
    return React.createElement("div", { ref: place }, React.createElement(HighlightCode, props));
  };

  return { wrapComponents: { responses: withSamples, operations: withHeading, InfoContainer: withName, HighlightCode: reachable } };
};
