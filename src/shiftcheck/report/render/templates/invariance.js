"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
overShifts(document.getElementById("map"), data.shifts, data, null);
