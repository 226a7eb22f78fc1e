// `dualtalker study collect` serves true here, and takes the answers.
globalThis.COLLECTOR = false;
