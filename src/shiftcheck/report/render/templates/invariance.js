"use strict";
overShifts(document.getElementById("map"), data.shifts, data, null);
