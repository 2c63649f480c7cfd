"""What the user has -> Scene: named bands on one pixel grid."""
