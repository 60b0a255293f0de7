// What every page of the console shares and types check: its times, its dialogs, and answers in place.

import { startDialogs } from "./dialogs";
import { startAnswersInPlace } from "./in_place";
import { startTimes } from "./times";

startTimes();
startDialogs();
startAnswersInPlace();
