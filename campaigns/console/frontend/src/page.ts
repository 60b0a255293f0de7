// What every page of the console shares and types check: its times, fields of moments, dialogs, and answers in place.

import { startDialogs } from "./dialogs";
import { startAnswersInPlace } from "./in_place";
import { startMomentFields } from "./moment_fields";
import { startTimes } from "./times";

startTimes();
startMomentFields();
startDialogs();
startAnswersInPlace();
