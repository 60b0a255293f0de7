// The admin takes its theme from the server, which has it from the console's switch; what it kept itself stands behind.
localStorage.setItem("adminTheme", JSON.stringify(document.documentElement.className || "auto"));
