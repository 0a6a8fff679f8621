"""The studio: pages in the browser where one plays the market by hand (the extra `studio`; command `malles studio`)."""
