// What every page of the console shares and types check: its times, fields of moments, dialogs, answers in place,
// files, what was typed and not sent, what is gone, passkeys, and where the keyboard stands.

import { startDialogs } from "./dialogs";
import { startDownloads } from "./downloads";
import { startDrafts } from "./drafts";
import { startFocusBack } from "./focus_back";
import { startGone } from "./gone";
import { startAnswersInPlace } from "./in_place";
import { startLoggedOut } from "./logged_out";
import { startMomentFields } from "./moment_fields";
import { startPasskeys } from "./passkeys";
import { startPolls } from "./polls";
import { startRedrawn } from "./redrawn";
import { startTimes } from "./times";

startTimes();
startMomentFields();
startDialogs();
startAnswersInPlace();
startLoggedOut();
startGone();
startPasskeys();
startPolls();
startRedrawn();
startDownloads();
startDrafts();
startFocusBack();
