"""What commands do with data and scenarios beside playing them: align, audit, back-test, calibrate, distil."""
